# shellcheck shell=bash
# A further process in a container where this machine has no util-linux: by Apptainer alone (docs/decisions/008). To Apptainer
# an instance is no more than a file that names a process, so a container of `apptainer exec` becomes one by such a file.

# True if Apptainer can: since 1.2.3 it looks for the file in a folder of ours, not in the home of the job's account.
can_join() {
  local version='([0-9]+)\.([0-9]+)\.([0-9]+)'
  [[ $pod_runtime == apptainer && $("$pod_executable" --version 2>/dev/null) =~ $version ]] || return
  ((BASH_REMATCH[1] * 1000000 + BASH_REMATCH[2] * 1000 + BASH_REMATCH[3] >= 1002003))
}

# COMMAND...: become a process beside the first one, in the container's namespaces, working directory and environment.
join_container() {
  local home place
  [[ $first ]] || find_first || fail 'its first process has not started yet'
  place=$(readlink "/proc/$inside/cwd")
  find_home ${env[@]+"${env[@]}"}
  write_instance "$pod_folder/tmp/$name/instance" || fail 'cannot write the file of an instance'
  show_gpus
  export_into_container ${env[@]+"${env[@]}"} FLASHLINK_POD "$pod_uid"
  export APPTAINER_CONFIGDIR=$pod_folder/tmp/$name/instance
  # The parent of an instance has this name, and lives. So it is this shell's name from now on, and Apptainer its child.
  exec -a 'Apptainer instance' "$BASH" -c '"$@"; exit "$?"' sh \
    "$pod_executable" --silent exec --cleanenv --no-eval --pwd "$place" instance://pod "$@"
}

# FOLDER: the file that lets Apptainer find process 1 of the container, below FOLDER.
write_instance() {
  local user host config kind root=false folder
  user=$(id -un) && read -r host </proc/sys/kernel/hostname || return
  folder=$1/instances/app/$host/$user/pod
  for kind in pid mount ipc network uts cgroup user; do
    config+="${config:+,}{\"type\":\"$kind\"}"
  done
  [[ ! $fake_root ]] || root=true
  [[ $image != *://* ]] || image=$(fetched_image "$image")
  config="{\"engineConfig\":{\"jsonConfig\":{\"homeDest\":$(json_word "$home"),\"fakeroot\":$root},
    \"ociConfig\":{\"process\":{\"noNewPrivileges\":true},\"linux\":{\"namespaces\":[$config]}}}}"
  config=$(printf '%s' "$config" | base64 -w 0)
  mkdir -p -- "$folder" && printf '{"name":"pod","user":%s,"image":%s,"pid":%s,"ppid":%s,"userns":true,"config":"%s"}\n' \
    "$(json_word "$user")" "$(json_word "$image")" "$inside" "$BASHPID" "$config" >"$folder/pod.json"
}

# TEXT
json_word() {
  local text=${1//\\/\\\\} quote='"'
  printf '"%s"' "${text//$quote/\\$quote}"
}
