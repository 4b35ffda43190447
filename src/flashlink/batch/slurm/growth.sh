# shellcheck shell=bash
# Tells what the files of jobs have grown by: runs where they are, as `bash -c TEXT ROOT SECONDS BYTES PIECES MOST`, so $0 is the
# folder that holds a folder for each job. On standard input a job a line, in the order in which they are looked at: its uid,
# and NAME=SIZE of each of its files that the plugin has.
#
# Answers with lines: `grown UID/NAME SIZE OFFSET COUNT`, with SIZE that of the file, and COUNT, at most MOST, of its bytes
# from OFFSET on to follow; `gone UID/NAME`; `looked N`, of so many of the jobs; and all those bytes as one line of base64. It
# begins with no further job after SECONDS, BYTES or PIECES.

cd -- "$0" || exit
seconds=$1 bytes=$2 pieces=$3 most=$4
declare -A have=() names=() size=() new=()
jobs=() told=()
while read -r uid files; do
  jobs+=("$uid")
  names[$uid]=''
  for each in $files; do
    names[$uid]+=" ${each%=*}"
    have[$uid/${each%=*}]=${each##*=}
  done
done

# JOB...: sizes of their files. The journals come first: what a journal tells of, the logs that are listed after it have.
list() {
  local length path
  while read -r length path; do
    [[ $path != *[!A-Za-z0-9._/-]* ]] || continue # no file of a job; and no regular expression, as they are slow here
    size[$path]=$length
    [ "$length" = "${have[$path]:-0}" ] || new[${path%%/*}]+=" ${path#*/}"
  done < <(
    find "$@" -mindepth 1 -maxdepth 1 -type f '(' -name journal -o -name job.log ')' -printf '%s %p\n' 2>/dev/null
    find "${@/%//logs}" -mindepth 1 -maxdepth 1 -type f -printf '%s %p\n' 2>/dev/null
  )
}

# PATH. A file that is shorter than it was here was begun anew, and gives nothing this time.
tell() {
  local offset=${have[$1]:-0} count
  if [ ! -f "$1" ] || [ -L "$1" ]; then return 0; fi # another has a newline in its name
  count=$((size[$1] - offset))
  count=$((count < 0 ? 0 : count > most ? most : count))
  printf 'grown %s %s %s %s\n' "$1" "${size[$1]}" "$offset" "$count"
  ((count == 0)) || told+=("$1" "$offset" "$count")
  ((bytes -= count, --pieces, 1))
}

# JOB: what is new of it, its journal last. Fails when there is no room for all.
tell_job() {
  local name journal=''
  for name in ${new[$1]:-}; do
    if [ "$name" = journal ]; then
      journal=1
    elif ((bytes > 0 && pieces > 0)); then
      tell "$1/$name"
    else
      return 1
    fi
  done
  for name in ${names[$1]}; do
    [[ $name != logs/* || ${size[$1/$name]:-} || -e $1/$name || ! -d $1/logs ]] || printf 'gone %s\n' "$1/$name"
  done
  [ -z "$journal" ] || tell "$1/journal"
}

looked=0
while ((looked < ${#jobs[@]} && SECONDS < seconds)); do
  chunk=("${jobs[@]:looked:200}")
  list "${chunk[@]}"
  for job in "${chunk[@]}"; do
    if ((bytes <= 0 || pieces <= 0)) || ! tell_job "$job"; then break 2; fi
    ((++looked))
  done
done
printf 'looked %s\n' "$looked"
for ((at = 0; at < ${#told[@]}; at += 3)); do
  dd if="${told[at]}" bs=64K iflag=skip_bytes,count_bytes skip="${told[at + 1]}" count="${told[at + 2]}" 2>/dev/null
done | base64 -w 0
