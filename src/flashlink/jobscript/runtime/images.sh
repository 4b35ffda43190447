# shellcheck shell=bash
# Images: where they come from, and what of their configuration Apptainer does not apply.

pod_cache='' # folder for what Apptainer fetches; else it ends with the job

image_cache() { pod_cache=$1; }

# IMAGE [OPTION]...: a path, a reference with the options for fetching it, or "" for a host process.
with_image() {
  image=$1
  fetch_options=("${@:2}")
}

# INDEX: fetch the image of the container if it comes from a registry, so that the container starts at once.
fetch_image() {
  local file code
  [[ ! $stop && $pod_runtime != host ]] || return 0
  declare_container "$1"
  [[ $image == *://* ]] || return 0
  file=$(fetched_image "$image")
  [[ ! -e $file ]] || return 0
  journal pulling "$name"
  mkdir -p -- "${file%/*}"
  (fetch "$file.part") </dev/null >"$file.said" 2>&1 4>&- 9<&- &
  fetching=$!
  await "$fetching"
  fetching=''
  cat -- "$file.said" >&2
  ((code != 0)) || mv -- "$file.part" "$file"
}

# FILE: become Apptainer, which fetches $image into FILE and leaves nothing elsewhere but in the cache.
fetch() {
  local prefix=${pod_runtime^^}
  export "${prefix}_TMPDIR=${1%/*}" "${prefix}_CACHEDIR=${pod_cache:-${1%/*}}"
  if [[ ! $pod_cache ]]; then
    fetch_options+=(--disable-cache)
  fi
  exec -- "$pod_executable" --silent pull --force ${fetch_options[@]+"${fetch_options[@]}"} "$1" "$image"
}

# IMAGE: where its file goes.
fetched_image() {
  local sum
  read -r sum _ < <(printf '%s' "$1" | sha256sum)
  printf '%s' "$pod_folder/tmp/.images/$sum.sif"
}

# The WORKDIR of the Docker image that the SIF file $image was made of, in $image_workdir. Apptainer keeps the image's
# configuration as one of the file's objects, and does not apply it. Their descriptors, of 585 bytes, begin at byte 4096, each
# with: at byte 17 where the object is, at byte 25 its size, at byte 73 its name (https://github.com/apptainer/sif, "type
# rawDescriptor").
find_image_workdir() {
  image_workdir=''
  [[ -f $image ]] || return 0
  local name_bytes=' 111 99 105 45 99 111 110 102 105 103 46 106 115 111 110 0 ' # oci-config.json
  local config place number
  local -a bytes
  while read -r -a bytes; do
    [[ " ${bytes[*]:73:16} " == "$name_bytes" ]] || continue
    number_at 17
    place=$number
    number_at 25
    IFS= read -r -d '' config < <(tail -c "+$((place + 1))" -- "$image" | head -c "$number")
    if [[ $config =~ \"WorkingDir\":[[:space:]]*\"(([^\"\\]|\\.)*)\" ]]; then
      printf -v image_workdir '%b' "${BASH_REMATCH[1]//\\\//\/}" # JSON's escapes that a path can have are printf's too
    fi
    return
  done < <(od -An -v -w585 -t u1 -j 4096 -N 28080 -- "$image" 2>/dev/null)
}

# BYTE: the little-endian number of eight bytes there in $bytes, in $number.
number_at() {
  local byte
  number=0
  for ((byte = $1 + 7; byte >= $1; byte--)); do
    number=$((number << 8 | bytes[byte]))
  done
}
