# shellcheck shell=bash
# Sidecars: init containers that go on beside all that comes after them, and end when the containers have ended.

pod_sidecars=()    # 1 by index
ending_sidecars='' # all containers have ended

# NAME FUNCTION
sidecar() {
  pod_sidecars[${#pod_names[@]}]=1
  init_container "$@"
}

# INDEX
is_sidecar() { [[ ${pod_sidecars[$1]:-} ]]; }

# INDEX: wait until the sidecar has started, so that what comes after it may start.
await_started() {
  while [[ ! $stop && ${supervisors[$1]} && ! -e $pod_folder/tmp/${pod_names[$1]}.up ]]; do
    kill -0 "${supervisors[$1]}" 2>/dev/null || return 0
    tick 0.05
  done
}

# The last that was started ends first, each when those after it have ended. What is left of the pod's grace counts from the
# end of the containers, or from when the pod was told to end; the last two seconds of it are everybody's.
end_sidecars() {
  local index left whole
  ending_sidecars=1
  ended_at=${ended_at:-$SECONDS}
  for ((index = pod_inits - 1; index >= 0; index--)); do
    is_sidecar "$index" && [[ ${supervisors[index]+reached} ]] || continue
    if [[ ${supervisors[index]} ]]; then
      whole=$(grace)
      left=$((whole - (SECONDS - ended_at)))
      ((left >= 2 || whole < 2)) || left=2
      printf '%s\n' "$((left < whole ? left : whole))" >"$pod_folder/tmp/.left"
      kill -HUP "${supervisors[index]}" 2>/dev/null
    fi
    collect "$index"
  done
}
