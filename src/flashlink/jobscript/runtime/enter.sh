# shellcheck shell=bash
# A further process in a container that runs (docs/decisions/008).

# What its probes and hooks will need is there, or the container does not start.
check_enter() {
  has_util_linux || can_join ||
    refuse "its probes or hooks are commands, which get into it by nsenter and setpriv (util-linux) or Apptainer 1.2.3; \
this machine has neither"
}

has_util_linux() { type -P nsenter && type -P setpriv; } >/dev/null

# COMMAND...: become a process beside the first one of a container of Apptainer: in its namespaces, in the working directory in
# which it was started, with its environment; which is that of its last exec, so the values that the pod gives stand over it.
# Nothing of the container's environment may reach the programs of this machine that lead there: a library that LD_PRELOAD names
# would be loaded by them, outside of the container.
enter_container() {
  local word kind position place names=' '
  local -a way=() tidy=() plain=() late=()
  [[ $first ]] || find_first || fail 'its first process has not started yet'
  way=("$(type -P setpriv)" --no-new-privs "$(type -P nsenter)" --target "$inside")
  way+=(--user --preserve-credentials --mount --pid)
  for kind in ipc net uts cgroup; do
    [[ /proc/self/ns/$kind -ef /proc/$inside/ns/$kind ]] || way+=("--$kind")
  done
  place=$(readlink "/proc/$inside/cwd")
  tidy=("$(type -P env)" -u SHLVL -u _ --)
  while IFS= read -r -d '' word; do
    sort_variable "${word%%=*}" "${word#*=}"
    names+="${word%%=*} "
  done <"/proc/$first/environ"
  for ((position = 0; position < ${#env[@]}; position += 2)); do
    case ${env[position]} in
      LD_LIBRARY_PATH) ;; # to which Apptainer adds
      *) [[ $names != *" ${env[position]} "* ]] || sort_variable "${env[position]}" "${env[position + 1]}" ;;
    esac
  done
  plain+=(PWD "$place")
  find_place
  way+=(--)
  if [[ ${late[*]-} || $place ]]; then
    # shellcheck disable=SC2016 # for the container's shell
    way+=(/bin/sh -c '[ ! "$1" ] || cd "$1" || exit
for name in $FLASHLINK_LATE; do eval "export $name=\"\$FLASHLINK_LATE_$name\""; unset "FLASHLINK_LATE_$name"; done
unset FLASHLINK_LATE name; shift; exec "$@"' sh "$place")
    plain+=(FLASHLINK_LATE "${late[*]-}")
  fi
  clear_environment
  hand_over ${plain[@]+"${plain[@]}"} '' "${tidy[@]}" "${way[@]}" "$@"
}

# Let nsenter start the command in $place, in place of /, or let a shell lead it there, if $place is not "" then. Who is not of the
# container's user namespace may not look into it if its root is a FUSE file system; an nsenter since util-linux 2.39 can go there
# from inside.
find_place() {
  if [[ $place == / ]]; then
    place=''
  elif [[ -d /proc/$inside/cwd/. ]]; then
    way+=(--wd) place=''
  elif [[ $("${way[2]}" --help) == *--wdns* ]]; then
    way+=("--wdns=$place") place=''
  fi
}

# NAME VALUE: a variable of the container goes into `plain`, or, if bash does not let it be set, into the arguments of env, or
# else, if programs of this machine would heed it, into `late`, for a shell in the container to set.
sort_variable() {
  [[ $1 =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || return 0
  case $1 in
    _ | SHLVL | OLDPWD) ;;
    BASHOPTS | BASH_VERSINFO | BASHPID | EUID | PPID | SHELLOPTS | UID) tidy+=("$1=$2") ;;
    LD_* | GLIBC_TUNABLES | MALLOC_* | GCONV_PATH | LOCPATH | MUSL_LOCPATH | NLSPATH | LANGUAGE)
      if [[ $1=$2 == LD_LIBRARY_PATH=/.singularity.d/libs ]]; then # Apptainer's own, of which this machine has nothing
        plain+=("$1" "$2")
      else
        late+=("$1")
        plain+=("FLASHLINK_LATE_$1" "$2")
      fi
      ;;
    *) plain+=("$1" "$2") ;;
  esac
}

# The processes of the container of $child: process 1 of its namespace, in $inside, which is Apptainer's own, stays as long as the
# container does and keeps its working directory; and in $first the one that Apptainer has made the container's, or "".
find_first() {
  local pid
  local -a layer=("$child") next kids
  inside='' first=''
  for _ in 1 2 3 4; do
    next=()
    for pid in ${layer[@]+"${layer[@]}"}; do
      find_children "$pid"
      next+=(${kids[@]+"${kids[@]}"})
    done
    for pid in ${next[@]+"${next[@]}"}; do
      if [[ -e /proc/$pid/ns/pid && ! /proc/$pid/ns/pid -ef /proc/self/ns/pid ]]; then
        inside=$pid
        break 2
      fi
    done
    layer=(${next[@]+"${next[@]}"})
  done
  [[ $inside && ! -e $pod_folder/tmp/$name/fuse/waiting ]] || return
  find_children "$inside"
  for pid in "$inside" ${kids[@]+"${kids[@]}"}; do
    if carries_mark "$pid"; then
      first=$pid
      return 0
    fi
  done
  return 1
}

# PID: true if the pod's mark is in its environment.
carries_mark() {
  local word
  while IFS= read -r -d '' word; do
    [[ $word != "FLASHLINK_POD=$pod_uid" ]] || return 0
  done 2>/dev/null <"/proc/$1/environ"
  return 1
}

# COMMAND...: the same for a host process, which has no namespace of its own but for its mounts, and they can be made again.
enter_process() {
  argv=("$@") trial=1
  start_process "$index" "$asking"
}
