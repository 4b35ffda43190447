# shellcheck shell=bash
# What Slurm starts, after the site's own prologue lines: runs the pod's job script in the pod's folder, passes SIGTERM on to
# it, ends it after the grace, leaves no process behind, and notes how it went for sites that keep no accounting.
#
#   SCRIPT FOLDER UID GRACE
#
# In FOLDER: `grace`, the seconds of a cancel that has its own; `slurm/claim`, a link to the job's id, so that of two jobs for one
# pod only one runs; `slurm/end`, how the job ended.

set +eu
umask 077
script=$1 folder=$2 uid=$3 grace=$4
record=$folder/slurm
child='' stopped='' interrupted='' killer=''

# Slurm may have taken in a submission that it called failed, and the next one as well. A requeued job has its old id, but so
# may have another: a controller that forgot a job gives its number again.
claim() {
  mkdir "$record" 2>/dev/null # not the folder itself: it is gone when the pod is
  ln -sT "$SLURM_JOB_ID" "$record/claim" 2>/dev/null && return
  ((${SLURM_RESTART_COUNT:-0})) && [ "$(readlink "$record/claim")" = "$SLURM_JOB_ID" ]
}

# SIGTERM to the script and all it has started; SIGKILL when the grace and what the script needs to tidy up are over.
stop() {
  interrupted=1
  [ -z "$stopped" ] || return
  stopped=1
  [ -n "$child" ] || return
  kill -TERM -- "-$child"
  if [ -r "$folder/grace" ]; then read -r grace <"$folder/grace"; fi
  (sleep "$((grace + 10))" && kill -KILL -- "-$child") &
  killer=$!
}

# Sets `code`; a trap that runs meanwhile ends `wait`, not the script, and so does a job that Slurm suspends.
await() {
  while :; do
    interrupted=''
    wait "$child"
    code=$?
    [ -z "$interrupted" ] || continue
    kill -0 "$child" 2>/dev/null || return
    sleep 1
  done
}

# What has left the script's process group still carries the pod's mark in its environment. Slurm ends it itself only where it
# tracks processes by cgroup.
kill_remains() {
  local entry word round found
  for round in 1 2 3 4 5; do
    found=''
    for entry in /proc/[0-9]*; do
      [ -O "$entry" ] || continue
      while IFS= read -r -d '' word; do
        if [ "$word" = "FLASHLINK_POD=$uid" ]; then
          kill -KILL "${entry#/proc/}" 2>/dev/null && found=1
          break
        fi
      done 2>/dev/null <"$entry/environ"
    done
    [ -n "$found" ] || return
    sleep "0.$round"
  done
}

note_end() {
  printf '%s\n' "job=$SLURM_JOB_ID" "exit=$code" "stopped=${stopped:-0}" "node=${SLURMD_NODENAME:-$HOSTNAME}" \
    "started=$started" "ended=$(date +%s)" >"$record/end.new" && mv -f "$record/end.new" "$record/end"
}

if ! claim; then
  echo "flashlink: this pod runs as job $(readlink "$record/claim"); job $SLURM_JOB_ID leaves it alone"
  exit 1
fi
rm -f "$record/end"
cd "$folder" || exit 1
started=$(date +%s)
set -m # the script is a process group of its own
trap stop TERM INT HUP
trap '' TSTP # Slurm sends it before it suspends a job: bash would leave `await` for good; SIGSTOP, which follows, suspends
FLASHLINK_POD=$uid FLASHLINK_FOLDER=$folder bash "$script" &
child=$!
if [ -n "$stopped" ]; then # it came while the script was being started
  stopped=''
  stop
fi
await
trap '' TERM INT HUP
if [ -n "$killer" ]; then kill -KILL -- "-$killer" 2>/dev/null; fi
if [ -n "$stopped" ] && [ "$code" = 0 ]; then code=143; fi # what had to be ended has not succeeded
kill_remains
note_end
exit "$code"
