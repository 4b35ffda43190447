# shellcheck shell=bash
# The last words of a container, for its status: what it has written to a file, or the end of its log (docs/decisions/010).

# PATH FROM_LOGS
with_message() { message_path=$1 message_from_logs=$2; }

# Of a supervisor, before it starts an instance. The /dev of a container is made by Apptainer, and nothing can be mounted in it. So
# the container waits, before its command, until there is a link to our file: it says that it is up, and is told to go on.
# Descriptors 3 and 5 are the two pipes.
await_message_link() {
  local place=$pod_folder/tmp/$name/message
  message_linked=1
  [[ $pod_runtime != host ]] || return 0
  { : >"$place/text"; } 2>/dev/null
  [[ $message_path == /dev/?* ]] || return 0
  mkfifo -- "$place/up" "$place/go" && exec 3<>"$place/up" 5<>"$place/go" && message_linked=''
}

# The same as `tick`, while the container has not said that it is up.
tick_until_up() {
  local word
  read -r -t "$1" -u 3 word || return
  message_linked=1
  link_message || printf 'flashlink: container %s: it finds no %s to leave a message in\n' "$name" "$message_path" >&2
  printf 'go\n' >&5
}

# Whatever form the container's root has, its process 1 holds its /dev open meanwhile.
link_message() {
  local inside first open link
  find_first
  for open in "/proc/$inside/fd"/*; do
    [[ -d $open/shm ]] || continue
    link=$open/${message_path#/dev/}
    [[ $message_path != /dev/*/* ]] || mkdir -p -- "${link%/*}" || return
    ln -sT -- /.flashlink-message/text "$link"
    return
  done
  return 1
}

# For Apptainer, in $options: the last ones, as each start of a container with them waits.
set_message() {
  local place=$scratch/message
  if [[ $message_path != /dev/?* ]]; then
    make_message_path
    add_mount "$place/text" "$message_path" rw
  elif [[ -p $place/go ]]; then
    # It is Apptainer itself that reads these files before it becomes the command: as process 1, by no program of the image. The
    # /dev of a setuid one is root's, so that the command could not write there anyhow.
    # shellcheck disable=SC2016 # for Apptainer
    printf '%s\n' '[ "$$" != 1 ] || [ ! -w /dev ] ||' \
      '{ echo up >/.flashlink-message/up; read -r go </.flashlink-message/go; unset go; } </dev' >"$place/wait.sh"
    add_mount "$place" /.flashlink-message ro
    add_mount "$place/text" /.flashlink-message/text rw
    add_mount "$place/wait.sh" /.singularity.d/env/00-flashlink.sh ro
  fi
}

# In what is mounted from this machine there must be something to mount the file at.
make_message_path() {
  local position source='' rest=''
  local -a places=("$scratch/tmp" /tmp "$scratch/var_tmp" /var/tmp "$scratch/home" /home/pod)
  for ((position = 0; position < ${#binds[@]}; position += 5)); do # parents first, so the deepest mount wins
    [[ ${binds[position + 2]} == ro ]] || places+=("${binds[position]}" "${binds[position + 1]}")
  done
  for ((position = 0; position < ${#places[@]}; position += 2)); do
    if [[ $message_path == "${places[position + 1]%/}"/* ]]; then
      source=${places[position]} rest=${message_path#"${places[position + 1]%/}/"}
    fi
  done
  [[ $source ]] || return 0
  [[ -e $source ]] || mkdir -m 1777 -- "$source" # as Apptainer would
  check_inside "$source/$rest" "$source"
  [[ $rest != */* ]] || mkdir -p -- "$source/${rest%/*}" 2>/dev/null
  [[ -e $source/$rest ]] || { : >"$source/$rest"; } 2>/dev/null
}

# The container has ended with $code: leave its last words beside its log, as the plugin tells them.
leave_message() {
  local file=$pod_folder/tmp/$name/message/text
  if [[ $pod_runtime != host && -s $file ]]; then
    save_message tail -c 4096 -- "$file"
  elif [[ $message_from_logs && $code != 0 ]]; then
    save_message log_end
  fi
  [[ $pod_runtime == host ]] || exec 3>&- 5>&-
}

# COMMAND...
save_message() {
  "$@" 2>/dev/null >"${log%.log}.message" && return
  free_reserve
  "$@" 2>/dev/null >"${log%.log}.message"
} 2>/dev/null

log_end() { tail -q -c 2048 -- "$log" ${log_pieces[@]+"${log_pieces[@]}"} | tail -c 2048 | tail -n 80; }
