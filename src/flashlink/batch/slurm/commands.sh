# shellcheck shell=bash
# Runs commands that come on standard input, one after the other, and answers with what they say. What flashlink sends to a
# site's login node is this text, always the same, and then data: so nothing needs quoting, since nothing of it is code.
#
# A command is a line-like word "<words> <bytes of input> <seconds>", its input, and its words; words end with a NUL. An
# answer is output, errors and exit status, a NUL after each. Whatever a login shell prints before or after stays outside
# of the two marks.

set +eu
umask 077 # of what is submitted, too
export LC_ALL=C SLURM_TIME_FORMAT=%s
# What a person has set for the own use of these commands would change their answers.
# shellcheck disable=SC2086 # names of variables
unset ${!SQUEUE_@} ${!SACCT_@} ${!SCANCEL_@} ${!SINFO_@} ${!SBATCH_@}

flashlink_commands() {
  local count size seconds input word words errors status
  printf 'flashlink-begin\0'
  while IFS=' ' read -r -d '' count size seconds; do
    input=''
    words=()
    ((size == 0)) || IFS= read -r -N "$size" input
    while ((count--)); do
      IFS= read -r -d '' word || return
      words+=("$word")
    done
    { errors=$(printf %s "$input" | timeout "$seconds" "${words[@]}" 2>&1 >&3 3>&-); } 3>&1
    status=$?
    printf '\0%s\0%s\0' "$errors" "$status"
  done
  printf 'flashlink-end\0'
}
flashlink_commands; exit
