# shellcheck shell=bash
# A container by Apptainer, or by Singularity, which takes the same options and other variables.

# Become the container.
start_apptainer() {
  local position home='' scratch=$pod_folder/tmp/$name
  type -P -- "$pod_executable" >/dev/null || refuse "there is no $pod_executable on this machine"
  local -a options=(--cleanenv --contain --no-eval --pid --workdir "$scratch")
  if [[ $image == *://* ]]; then
    image=$(fetched_image "$image")
    [[ -e $image ]] || refuse "its image could not be fetched: $(last_lines "$image.said" 'Apptainer gave no reason')"
  fi
  [[ -e $image ]] || refuse "its image $image does not exist on this machine"
  case $gpu in
    nvidia) options+=(--nv) ;;
    amd) options+=(--rocm) ;;
  esac
  show_gpus
  set_home ${env[@]+"${env[@]}"}
  for ((position = 0; position < ${#binds[@]}; position += 5)); do
    add_mount "${binds[position]}" "${binds[position + 1]}" "${binds[position + 2]}"
  done
  set_network
  set_fuses
  set_root
  if enters_container; then
    check_enter
    # By the namespaces of a user, which a setuid Apptainer would not make.
    options+=(--userns)
  fi
  options+=(${pod_options[@]+"${pod_options[@]}"})
  set_workdir
  set_message
  # The user's home is not in the container; /tmp is, and is the container's own.
  export_into_container HOME /tmp ${env[@]+"${env[@]}"} FLASHLINK_POD "$pod_uid"
  cd / || refuse 'cannot leave its folder'
  if ((${#argv[@]})); then
    exec -- "$pod_executable" --silent exec "${options[@]}" -- "$image" "${argv[@]}" 2>&1
  else
    exec -- "$pod_executable" --silent run "${options[@]}" -- "$image" ${args[@]+"${args[@]}"} 2>&1
  fi
}

# An instance of $name has ended: if it was Apptainer that could not start it, it said so in one line, as the container would have
# spoken, and $code and the reason are as when a kubelet cannot.
judge_start() {
  local line more
  ((code == 255)) || return 0
  { IFS= read -r line && ! read -r more && [[ ! $more ]]; } 2>/dev/null <"$log" || return 0
  [[ $line == 'FATAL:   '* ]] || return 0
  give_reason "$log" "${line#FATAL:   }"
  : >"$pod_folder/tmp/$name.failed"
  code=128
}

# [NAME VALUE]...: HOME as the pod says, else a folder of the container's own. Apptainer lets no variable set it, but it takes
# the second half of --home, and --no-home keeps it from mounting anything there.
set_home() {
  find_home "$@" || add_mount "$scratch/home" "$home" rw
  options+=(--no-home --home "/:$home")
}

# [NAME VALUE]...: in $home; false if the pod does not say it.
find_home() {
  local given=''
  home=/home/pod
  while (($#)); do
    [[ $1 != HOME ]] || home=$2 given=1
    shift 2
  done
  [[ $given ]]
}

# SOURCE TARGET MODE: a further --mount in $options. Its value is one line of CSV: every field in double quotes, those inside
# doubled.
add_mount() {
  local value mode='' quote='"' # versions of bash differ over quotes that stand in the replacement themselves
  [[ $3 != ro ]] || mode=',ro'
  printf -v value 'type=bind,"source=%s","destination=%s"%s' "${1//$quote/$quote$quote}" "${2//$quote/$quote$quote}" "$mode"
  options+=(--mount "$value")
}

# [NAME VALUE]...: by the variables that Apptainer passes on, so that no value is ever an argument.
export_into_container() {
  local prefix=${pod_runtime^^}ENV_
  while (($#)); do
    [[ $1 == HOME ]] || export "$prefix$1=$2"
    shift 2
  done
}
