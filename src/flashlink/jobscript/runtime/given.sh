# shellcheck shell=bash
# A job script that interLink's API server sends in place of the pod's containers: a process of this machine, told as the first of
# them, and the others with it.

script_inits=() # the pod's init containers, which have nothing to do of their own
script_alike=() # its other containers

# TEXT
with_script() { script=$1; }
# COUNT NAME...: the first COUNT are init containers.
script_for() { script_inits=("${@:2:$1}") script_alike=("${@:2+$1}"); }

# What waits for init containers need not wait any more.
tell_inits() {
  local init
  for init in ${script_inits[@]+"${script_inits[@]}"}; do
    journal ended "$init" instance=0 exit=0 cause=exited
  done
}

# Become it, as the batch system would have started it: with the environment of the job. Its folder ends with it.
start_script() {
  local place=$pod_folder/tmp/$name
  { printf '%s' "$script" >"$place/.job-script"; } 2>/dev/null || refuse 'cannot write the job script'
  chmod 0700 -- "$place/.job-script"
  cd -- "$place" || refuse 'cannot go to its folder'
  export FLASHLINK_VOLUMES=$pod_folder/volumes
  if [[ $job_locale ]]; then
    export LC_ALL=$job_locale
  else
    unset LC_ALL
  fi
  [[ $script != '#!'* ]] || exec -- "$place/.job-script" 2>&1
  exec -- "$BASH" -- "$place/.job-script" 2>&1
}
