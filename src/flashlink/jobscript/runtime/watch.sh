# shellcheck shell=bash
# The one watcher of a job: it outlives the job's main shell if that is killed, and cleans up after it.

watch_job() {
  trap '' TERM INT HUP USR1 USR2
  local due=$pod_deadline
  while
    tick 1 # not at once: the containers are about to start
    kill -0 "$$" 2>/dev/null
  do
    if ((due && SECONDS >= due)); then
      kill -USR1 "$$"
      due=0
    fi
    bound_job_log
    watch_disk
  done
  kill_tagged
  unmount_volumes
  leave_folder
}

start_watcher() {
  watch_job &
  watcher=$!
  disown "$watcher" # bash says nothing when we kill it
}

# Keep what the script itself has to say within the bound of the logs: its beginning, and what came since the last cut. What
# counts is the space on disk, since a log that is not open for appending gets a hole.
bound_job_log() {
  local size blocks log=/proc/$$/fd/2
  ((log_limit)) || return 0
  read -r _ size </proc/$$/fdinfo/2 # no more than a hint, but it costs nothing
  ((size > log_limit)) && [[ -f $log ]] || return 0
  read -r size blocks < <(stat -L -c '%s %b' "$log")
  ((blocks * 512 > log_limit)) || return 0
  truncate -s $((log_limit / 2)) "$log"
  printf '\n[flashlink: %s bytes were cut here]\n' $((size - log_limit / 2)) >>"$log"
} 2>/dev/null
