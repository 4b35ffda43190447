# shellcheck shell=bash
# Whichever of a job's own processes is killed, and though the disk is full: nothing is left, and every end is told.
#
# Supervisors tell the main shell by a pipe, descriptor 4, what must not be lost: which process is a container's first, that
# its end has been told, and lines of the journal that the disk did not take.

declare -A leaders=() # first process by container
declare -A settled=() # 1 by container: its supervisor has told its end

# WORD...: from a supervisor to the main shell.
tell_main() { printf '%s\n' "$*" >&4; }

take_words() {
  local word rest
  while read -r -t 0 -u 4 && IFS=' ' read -r word rest <&4; do
    case $word in
      leader) leaders[${rest% *}]=${rest#* } ;;
      settled) settled[$rest]=1 ;;
      line) unwritten+=$rest$'\n' ;;
    esac
  done
}

# What the main shell does whenever it waits.
tend_job() {
  [[ $BASHPID == "$$" ]] || return 0
  take_words
  write_journal
  if [[ ${watcher:-} ]] && ! kill -0 "$watcher" 2>/dev/null; then
    start_watcher
  fi
  local index
  for index in ${supervisors[@]+"${!supervisors[@]}"}; do
    [[ ! ${supervisors[index]} ]] || kill -0 "${supervisors[index]}" 2>/dev/null || end_orphan "${pod_names[index]}"
  done
}

# NAME: end a container whose supervisor has been killed.
end_orphan() {
  take_words
  [[ ! ${settled[$1]:-} && ${leaders[$1]:-} ]] || return 0
  printf 'flashlink: container %s: its supervisor was killed\n' "$1" >&2
  end_process "${leaders[$1]}"
  leaders[$1]=''
}

# The last of a supervisor: whoever reads this needs no disk.
settle() {
  local line
  write_journal
  while IFS= read -r line; do
    [[ ! $line ]] || tell_main line "$line"
  done < <(printf '%s' "$unwritten")
  tell_main settled "$name"
  { : >"$pod_folder/tmp/$name.ended"; } 2>/dev/null
}

# Somebody else may have filled the disk, and empty it.
insist_on_journal() {
  local try
  for ((try = 0; try < 10; try++)); do
    [[ $unwritten ]] || break
    tick 1
    write_journal
  done
}

# True while the job's main shell lives. If it was killed, supervisors end their containers, and the watcher cleans up.
job_lives() { kill -0 "$$" 2>/dev/null; }

# What Apptainer runs beside a container: its process 1, and the daemons of its mounts. They outlive Apptainer's own process if
# that one is killed, so they are remembered.
note_beside() {
  [[ $pod_runtime != host ]] || return 0
  local -a kids
  find_children "$child"
  ((${#kids[@]} == 0)) || beside=("${kids[@]}") # one that has just been killed has none any more
}

end_beside() {
  local pid command
  for pid in ${beside[@]+"${beside[@]}"}; do
    read -r command 2>/dev/null <"/proc/$pid/comm" || continue
    case $command in
      appinit | sinit | starter* | squashfuse* | fuse-overlayfs | fuse2fs | gocryptfs) kill -KILL "$pid" 2>/dev/null ;;
    esac
  done
}

# FILE TEXT: write a file though the disk is full, by the space that was kept for it.
keep() {
  { printf '%s\n' "$2" >"$1"; } 2>/dev/null && return
  free_reserve
  { printf '%s\n' "$2" >"$1"; } 2>/dev/null
}

make_reserve() { printf '%65536s' '' >"$pod_folder/tmp/.reserve"; }
free_reserve() { [[ ! -e $pod_folder/tmp/.reserve ]] || rm -f -- "$pod_folder/tmp/.reserve"; }
