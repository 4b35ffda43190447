# shellcheck shell=bash
# Names: the pod's own, those of other hosts, and who resolves them. The network itself is the worker's.

pod_hostname=''
host_lines=()     # further lines of /etc/hosts
resolver_lines=() # of /etc/resolv.conf
resolver_alone='' # the worker's own do not count

# NAME
network_hostname() { pod_hostname=$1; }
# LINE...
network_hosts() { host_lines=("$@"); }
# ALONE LINE...: ALONE is "" or "alone".
network_resolver() {
  resolver_alone=$1
  resolver_lines=("${@:2}")
}

# The options by which the container of $name gets these names, in $options. A pod may mount the files itself.
set_network() {
  if [[ $pod_hostname ]]; then
    options+=(--hostname "$pod_hostname")
  fi
  local -a lines=()
  if [[ $pod_hostname ]] || ((${#host_lines[@]})); then
    mapfile -t lines 2>/dev/null </etc/hosts
    show_file /etc/hosts ${lines[@]+"${lines[@]}"} ${pod_hostname:+"127.0.0.1 $pod_hostname"} ${host_lines[@]+"${host_lines[@]}"}
  fi
  if [[ $resolver_alone ]] || ((${#resolver_lines[@]})); then
    lines=()
    [[ $resolver_alone ]] || mapfile -t lines 2>/dev/null </etc/resolv.conf
    show_file /etc/resolv.conf ${lines[@]+"${lines[@]}"} ${resolver_lines[@]+"${resolver_lines[@]}"}
  fi
}

# PATH LINE...: the container sees these lines there, unless a volume is there.
show_file() {
  local position file=$scratch/${1##*/}
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    [[ $1/ != "${binds[position + 1]%/}"/* ]] || return 0
  done
  { printf '%s\n' "${@:2}" >"$file"; } 2>/dev/null || refuse "cannot write its $1"
  add_mount "$file" "$1" ro
}
