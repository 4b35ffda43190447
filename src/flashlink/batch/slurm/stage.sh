# shellcheck shell=bash
# Unpacks a tar file into a folder, which is made if missing. Comes on standard input before both: the folder's path and a NUL,
# then the file, so that no size and no byte of it matters to the shell. Answers as commands.sh does.

set +eu
umask 077
export LC_ALL=C

flashlink_stage() {
  local folder errors status=1
  printf 'flashlink-begin\0'
  IFS= read -r -d '' folder || return
  errors=$({ mkdir -p -- "$folder" && tar -x -m -f - -C "$folder"; } 2>&1) && status=0
  printf '\0%s\0%s\0flashlink-end\0' "$errors" "$status"
}
flashlink_stage; exit
