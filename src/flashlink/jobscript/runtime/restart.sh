# shellcheck shell=bash
# Whether a container that has ended starts again, and when: as the kubelet decides.

# POLICY: Always or OnFailure; without it the container starts once.
with_restart() { restart=$1; }
# IN CODE...: in or not-in; an exit code that is, or is not, one of these starts the container again. The first that fits counts.
with_restart_rule() { restart_rules+=("$1 ${*:2} "); }

# True if the container starts again after its exit with $code. One that a probe has ended does, however well it took that.
wants_restart() {
  local rule listed
  [[ ! $stop ]] || return 1
  [[ $condemned != probe || $restart == Never ]] || return 0
  for rule in ${restart_rules[@]+"${restart_rules[@]}"}; do
    listed=not-in
    [[ ${rule#* } != *" $code "* && ${rule#* } != "$code "* ]] || listed=in
    [[ $listed != "${rule%% *}" ]] || return 0
  done
  case $restart in
    Always) return 0 ;;
    OnFailure) ((code != 0)) ;;
    *) return 1 ;;
  esac
}

# Pause before the next start: not at all after the first end, then 10 s, and twice as long each time, to 300 s; anew once
# the container has run for ten minutes.
back_off() {
  local first=${FLASHLINK_BACKOFF:-10}
  if ((SECONDS - began >= 600)); then
    delay=0
  fi
  pause "$delay"
  if ((delay == 0)); then
    delay=$first
  else
    delay=$((delay * 2 < first * 30 ? delay * 2 : first * 30))
  fi
}

# SECONDS: pause, but not when the container is not to start again.
pause() {
  local until=$((SECONDS + $1))
  while ((SECONDS < until)) && [[ ! $stop ]]; do
    tick 0.2
    job_lives || stop=cancelled
  done
}
