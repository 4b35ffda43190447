# shellcheck shell=bash
# What a worker can do for pods. `flashlink check` sends it as a job; each finding is a line STATUS<TAB>SUBJECT<TAB>MESSAGE, with
# STATUS one of ok, warning and problem. Nothing of the worker is changed, but for a folder of our own that is removed.

export LC_ALL=C
umask 077

finding() { printf '%s\t%s\t%s\n' "$1" "$2" "${3//[$'\t\n']/ }"; }

# FOLDER: the job's own, unless the batch system gives it another.
probe_begin() {
  probe_folder=${FLASHLINK_FOLDER:-$1}
  finding ok worker "${HOSTNAME:-unknown}, $(uname -sr), user $(id -un 2>/dev/null || id -u)"
  if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 402)); then
    finding problem bash "$BASH_VERSION; job scripts need bash 4.2 or later"
  else
    finding ok bash "$BASH_VERSION"
  fi
  probe_programs
  if ! mkdir -p -- "$probe_folder"; then
    finding problem scratch "$probe_folder cannot be made here; set 'work' to a folder that workers can write"
    exit 0
  fi
  trap 'rm -rf -- "$probe_folder/box"' EXIT
  probe_space
}

probe_programs() {
  local program missing=''
  for program in cat chmod cp date dd df du env head id ln mkdir mv realpath rm sha256sum sleep sort stat tail tr uname; do
    type -P "$program" >/dev/null || missing+=" $program"
  done
  if [[ $missing ]]; then
    finding problem coreutils "missing:$missing; install coreutils"
  else
    finding ok coreutils 'all that job scripts call'
  fi
}

probe_space() {
  local free
  read -r _ _ _ free _ < <(df -P -k -- "$probe_folder" | tail -n 1)
  if ((${free:-0} < 65536)); then
    finding problem scratch "$probe_folder has only $((${free:-0} / 1024)) MiB free, which no pod can run with; make room"
  elif ((free < 1048576)); then
    finding warning scratch "$probe_folder has only $((${free:-0} / 1024)) MiB free"
  else
    finding ok scratch "$probe_folder, $((free / 1048576)) GiB free"
  fi
}

# RUNTIME EXECUTABLE OPTION...: run a container made of this machine's own bash.
probe_containers() {
  local runtime=$1 executable=$2 version said
  shift 2
  if ! type -P -- "$executable" >/dev/null; then
    finding problem "$runtime" "there is no program $executable; install it, or set containers.executable"
    return
  fi
  version=$("$executable" --version 2>&1)
  if ! make_box 2>/dev/null; then
    finding problem "$runtime" "$version has not been tried: a container of 10 MiB cannot be written to $probe_folder"
    return
  fi
  if said=$("$executable" --silent exec --cleanenv --contain --no-eval --pid "$@" -- "$probe_folder/box" /bin/bash -c 'echo inside' 2>&1 </dev/null) &&
    [[ $said == *inside ]]; then
    finding ok "$runtime" "$version runs a container"
  else
    finding problem "$runtime" "$version cannot run a container: ${said:0:300}"
  fi
}

# A root file system of nothing but bash and the libraries that it loads.
make_box() {
  local word
  mkdir -p -- "$probe_folder/box"/{bin,dev,etc,proc,sys,tmp,var/tmp,root,home} || return
  cp -L -- "$BASH" "$probe_folder/box/bin/bash" || return
  for word in $(ldd "$BASH"); do
    if [[ $word == /* && -e $word ]]; then
      mkdir -p -- "$probe_folder/box${word%/*}" && cp -L -- "$word" "$probe_folder/box$word" || return
    fi
  done
  probe_box=1
}

# EXECUTABLE PLACE: whether a container can write its root file system, on "disk" or in "memory".
probe_root() {
  local -a option=(--writable-tmpfs)
  [[ ${probe_box:-} ]] || return 0 # no container to try it with
  if [[ $2 == disk ]]; then
    mkdir -p -- "$probe_folder/box.layer"
    option=(--overlay "$probe_folder/box.layer")
  fi
  if "$1" --silent exec --contain --no-eval "${option[@]}" -- "$probe_folder/box" /bin/bash -c 'echo >/etc/written' >/dev/null 2>&1 </dev/null; then
    finding ok 'writable root' "containers can write outside of their volumes ($2)"
  else
    finding warning 'writable root' "containers cannot write outside of their volumes; install fuse-overlayfs, or set containers.root to read-only"
  fi
  rm -rf -- "$probe_folder/box.layer"
}

probe_squashfs() {
  local prefix
  type -P -- "$1" >/dev/null || return 0
  prefix=$(type -P -- "$1")
  prefix=${prefix%/bin/*}/libexec/apptainer/bin
  if [[ -x $prefix/squashfuse_ll || -x $prefix/squashfuse || -u $prefix/starter-suid ]] || type -P squashfuse >/dev/null; then
    finding ok 'SIF images' 'can be mounted'
  else
    finding warning 'SIF images' 'there is no squashfuse: each start unpacks its image; install squashfuse'
  fi
}

# HOST PORT: whether images can be fetched from where those come from that name no other registry.
probe_registry() {
  # shellcheck disable=SC2016 # the other bash expands it
  if timeout 20 bash -c 'exec 3<>"/dev/tcp/$1/$2"' - "$1" "$2" 2>/dev/null; then
    finding ok 'outgoing traffic' "$1:$2, from where images are fetched, can be reached"
  else
    finding warning 'outgoing traffic' "$1:$2, from where images are fetched, cannot be reached: pods have to name images that the site has, see [images]"
  fi
}

# SUBJECT FOLDER MODE: a folder that pods may mount; MODE is rw where they may write.
probe_place() {
  if [[ ! -d $2 ]]; then
    finding problem "$1" "$2 is no folder of this worker"
  elif [[ $3 == rw && ! -w $2 ]]; then
    finding warning "$1" "$2 cannot be written by the job's user"
  else
    finding ok "$1" "$2"
  fi
}

# FOLDER
probe_cvmfs() {
  local -a found
  if [[ ! -d $1 ]]; then
    finding problem CVMFS "$1 is no folder of this worker; volumes.cvmfs says that CVMFS is there"
    return
  fi
  found=("$1"/*/)
  if [[ -d ${found[0]} ]]; then
    finding ok CVMFS "$1 has ${#found[@]} repositories mounted now"
  else
    finding ok CVMFS "$1 is there; no repository is mounted now, autofs mounts them on use"
  fi
}

probe_fuse() {
  if [[ ! -c /dev/fuse || ! -r /dev/fuse || ! -w /dev/fuse ]]; then
    finding problem FUSE "/dev/fuse cannot be opened by the job's user"
  elif ! type -P fusermount3 fusermount >/dev/null; then
    finding problem FUSE 'there is no fusermount3; install fuse3'
  else
    finding ok FUSE '/dev/fuse and fusermount3 are there'
  fi
}

# URL AUTHORITY: whether the plugin can be reached; it must not know who we are.
probe_reports() {
  local code
  local -a trust=()
  if ! type -P curl >/dev/null; then
    finding warning reports 'there is no curl: state and logs come at the end of the jobs; install curl'
    return
  fi
  if [[ $2 ]]; then
    printf '%s' "$2" >"$probe_folder/box.pem"
    trust=(--cacert "$probe_folder/box.pem")
  fi
  code=$(curl --silent --show-error --proto =https --max-time 20 ${trust[@]+"${trust[@]}"} --output /dev/null --write-out '%{http_code}' \
    --data '' -- "$1" 2>&1)
  if [[ $code == 401 ]]; then
    finding ok reports "the plugin answers at $1"
  else
    finding warning reports "the plugin cannot be reached at $1: $code"
  fi
  rm -f -- "$probe_folder/box.pem"
}
