# shellcheck shell=bash
# Tells what the files of jobs have grown by: runs where they are, as `bash -c TEXT ROOT SECONDS BYTES PIECES MOST`, so $0 is the
# folder that holds a folder for each job. On standard input a line with the uids of the jobs, in the order in which they are
# looked at, and then a line `SIZE UID/NAME` of each of their files that the plugin has.
#
# Answers with lines: `grown UID/NAME SIZE OFFSET COUNT`, with SIZE that of the file, and COUNT, at most MOST, of its bytes
# from OFFSET on to follow; `gone UID/NAME`; `looked N`, of so many of the jobs; and all those bytes as one line of base64. It
# begins with no further jobs after SECONDS, and tells of no further one after BYTES or PIECES.
#
# Bash is slow, with long strings above all, and most files of most jobs are as they were: sort and comm find those that are not.

cd -- "$0" || exit
set -f
seconds=$1 bytes=$2 pieces=$3 most=$4
declare -A have=() size=() new=() gone=()
told=()
IFS=' ' read -r -a jobs
exec 5<&0

# JOB...: sizes of their files. The journals come first: what a journal tells of, the logs that are listed after it have.
list() {
  find "$@" -mindepth 1 -maxdepth 1 -type f '(' -name journal -o -name job.log ')' -printf '%s %p\n' 2>/dev/null
  find "${@/%//logs}" -mindepth 1 -maxdepth 1 -type f -printf '%s %p\n' 2>/dev/null
}

# What is not the same here and there: of here as it is, of there after a tab.
compare() { comm -3 <(sort <&5) <(printf '%s' "$there" | sort); }

note_changes() {
  local line length path
  while IFS= read -r line; do
    path=${line#* } length=${line%% *}
    length=${length#$'\t'}
    # No file of a job has another name; and a size that is none came of a newline in one.
    [[ $path && $path != *[!A-Za-z0-9._/-]* && $length && $length != *[!0-9]* ]] || continue
    if [[ $line == $'\t'* ]]; then
      size[$path]=$length
      new[${path%%/*}]+=" ${path#*/}"
    else
      have[$path]=$length
    fi
  done < <(compare)
  for path in "${!have[@]}"; do
    [[ $path != */logs/* || ${size[$path]:-} || -e $path || ! -d ${path%/*} ]] || gone[${path%%/*}]+=" ${path#*/}"
  done
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
  for name in ${gone[$1]:-}; do printf 'gone %s\n' "$1/$name"; done
  [ -z "$journal" ] || tell "$1/journal"
}

listed=0 there=''
while ((listed < ${#jobs[@]} && SECONDS < seconds)); do
  there+=$(list "${jobs[@]:listed:250}")$'\n'
  ((listed += 250))
done
note_changes
looked=0
for job in "${jobs[@]:0:listed}"; do
  if [ "${new[$job]:-}${gone[$job]:-}" ]; then
    if ((bytes <= 0 || pieces <= 0)) || ! tell_job "$job"; then break; fi
  fi
  ((++looked))
done
printf 'looked %s\n' "$looked"
for ((at = 0; at < ${#told[@]}; at += 3)); do
  dd if="${told[at]}" bs=64K iflag=skip_bytes,count_bytes skip="${told[at + 1]}" count="${told[at + 2]}" 2>/dev/null
done | base64 -w 0
