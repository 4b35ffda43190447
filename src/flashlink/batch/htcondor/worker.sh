#!/bin/bash
# What HTCondor runs where worker and plugin share no file system: it makes the pod's folder in the job's scratch directory,
# runs the job script there, and ends it at its wall time. HTCondor's own limit would lose what the job has written.
#
#   worker.sh SCRIPT WALLTIME GRACE [once]      WALLTIME 0: none; once: do not start what may have been started before
#
# What comes back: pod/journal, pod/logs and pod/end, which holds "exited", "killed", "walltime" or "evicted".
set -u
set -m # the script's process group is its own

script=$1 walltime=$2 grace=$3 once=${4-} killed=''
umask 077
mkdir pod pod/logs && : >pod/journal && echo exited >pod/end || exit 128
export FLASHLINK_FOLDER=$PWD/pod

exec 9<> <(:) # a pipe of our own, on which nothing ever comes: a pause without a process

# A CE whose job router loses sight of a job has the site remove it, and hands it in again at once; such a job tells so, and
# whether the one before had begun nobody knows. It may need all of its grace, so this waits until it is surely over: never two at once.
wait_for_the_one_before() {
  local line again='' begun='' due=0 latest
  latest=$(($(date +%s) + grace + 5)) # whatever the ad says, and however far the clocks are apart
  while read -r line; do
    case $line in
      'Managed = "Schedd"') again=1 ;;
      'NumJobStarts = '[1-9]*) begun=1 ;;
      'QDate = '[0-9]*) # digits alone, since bash runs what stands in the subscript of a number; as many as it can hold
        line=${line#QDate = }
        line=${line%%[!0-9]*}
        due=$((10#${line:0:15} + grace + 5))
        ;;
    esac
  done <"${_CONDOR_JOB_AD:-/dev/null}"
  if [ "$once" ] && [ "$again$begun" ]; then
    echo evicted >pod/end
    exit 143
  fi
  if ((due > latest)); then due=$latest; fi
  while [ "$again" ] && [ "$(date +%s)" -lt "$due" ]; do read -r -t 0.5 -u 9; done
}
trap 'exit 143' TERM INT HUP
wait_for_the_one_before

bash "./$script" 9<&- &
job=$!
trap 'interrupted=1; kill -TERM "$job" 2>/dev/null' TERM INT HUP

end_at_walltime() {
  sleep "$walltime"
  echo walltime >pod/end
  kill -TERM "$job" 2>/dev/null
  sleep "$grace"
  kill -KILL -- "-$job" 2>/dev/null
}

if ((walltime)); then
  end_at_walltime 9<&- &
  timer=$!
  disown "$timer"
fi
# Not by `wait` alone: bash loses the end of a child when a trap interrupts `wait` at that very moment.
while kill -0 "$job" 2>/dev/null; do read -r -t 0.2 -u 9; done
# An exit code of 137 does not tell a script that was killed; bash has then said so already, and keeps no line of it.
case $(LC_ALL=C jobs) in *Exit* | *Done*) ;; *) killed=1 ;; esac
interrupted=1
while [ "$interrupted" ]; do
  interrupted=''
  wait "$job"
  code=$?
done
if ((walltime)); then kill -KILL -- "-$timer" 2>/dev/null; fi
if [ "$(cat pod/end)" = walltime ]; then
  ((code)) || code=143
elif [ "$killed" ] && ((code > 128)); then
  echo killed >pod/end
fi
exit "$code"
