# shellcheck shell=bash
# The GPUs of a container: of those that the batch system gave the job, as many as it asked for.

gpu_variables=(CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES GPU_DEVICE_ORDINAL)

# VENDOR COUNT FIRST: nvidia or amd; how many; how many of the job's the containers beside it have before.
with_gpu() { gpu=$1 gpu_count=$2 gpu_first=$3; }

# Put before the container's variables, which may say otherwise, those by which a batch system tells a job its devices: each
# a list, of which the container gets its own.
show_gpus() {
  [[ $gpu ]] || return 0
  local variable list
  local -a devices
  for variable in "${gpu_variables[@]}"; do
    [[ ${!variable:-} ]] || continue
    IFS=, read -r -a devices <<<"${!variable}"
    if ((${#devices[@]} < gpu_first + gpu_count)); then
      list=${!variable} # such as "all": what it gives is the site's business
    else
      printf -v list '%s,' "${devices[@]:gpu_first:gpu_count}"
      list=${list%,}
    fi
    env=("$variable" "$list" ${env[@]+"${env[@]}"})
  done
}
