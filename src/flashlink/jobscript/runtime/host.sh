# shellcheck shell=bash
# A container as a process of this machine, without an image.

# INDEX [PROBE]: become the process; go into a mount namespace first if there is something to mount.
start_process() {
  local position
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    if [[ ${binds[position]} != "${binds[position + 1]}" || ${binds[position + 2]} == ro ]]; then
      unshare_mounts "$@"
    fi
  done
  become_process
}

# INDEX [PROBE]: this script again, in a mount namespace of its own; `run_pod` leads it to `enter_namespace`.
unshare_mounts() {
  local -a identity=()
  ((EUID == 0)) || identity=(--user --map-root-user)
  type -P unshare >/dev/null || refuse 'this machine has no unshare (util-linux), by which it gets its mounts'
  exec unshare --mount --propagation private ${identity[@]+"${identity[@]}"} -- \
    "$BASH" "$pod_script" --in-namespace "$1" "${container_log:-}" "${2:-}"
}

# The environment is what the pod says and what a process cannot do without.
become_process() {
  local home=$pod_folder/tmp/$name inside outside
  local -a identity=() tidy=()
  show_gpus
  cd -- "${workdir:-$home}" 2>/dev/null || refuse "its working directory $workdir does not exist on this machine"
  read -r inside outside _ </proc/self/uid_map
  if ((EUID == 0 && inside != outside)); then # mounting is over: be oneself again
    identity=("$(type -P unshare)" --user "--map-user=$outside" "--map-group=$(group_outside)" --)
  fi
  if [[ ${argv[0]} != *=* ]]; then # `env` would take that for a variable
    tidy=("$(type -P env)" -u SHLVL -u _ --) # bash sets these two in whatever it executes
  fi
  set -- HOME "$home" TMPDIR "$home" PATH "$pod_path" ${env[@]+"${env[@]}"} FLASHLINK_POD "$pod_uid"
  find_program "$@"
  clear_environment
  hand_over "$@" '' ${identity[@]+"${identity[@]}"} ${tidy[@]+"${tidy[@]}"} "${argv[@]}"
}

group_outside() {
  local outside
  read -r _ outside _ </proc/self/gid_map
  printf '%s' "$outside"
}

# NAME VALUE...: the program must be there, by the PATH that it will see.
find_program() {
  local path=''
  while (($#)); do
    [[ $1 != PATH ]] || path=$2
    shift 2
  done
  PATH=$path type -P -- "${argv[0]}" >/dev/null || refuse "there is no program '${argv[0]}' on this machine" 127
}

# Nothing that the job itself exported reaches the process.
clear_environment() {
  local line
  while read -r line; do
    export -n "${line?}"
  done < <(compgen -e)
  while read -r _ _ line; do
    export -nf "${line?}"
  done < <(declare -Fx)
}

# [NAME VALUE]... '' COMMAND...: export and exec. It has no variables of its own, which the names could overwrite; and
# `unset` first, since bash computes some variables (RANDOM, SECONDS) as long as they were never unset.
hand_over() {
  while [[ $1 ]]; do
    unset -v "$1"
    export "$1=$2"
    shift 2
  done 2>/dev/null
  shift
  exec -- "$@" 2>&1
  exit 126
}
