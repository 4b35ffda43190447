# shellcheck shell=bash
# The logs of the containers (docs/decisions/001 and 005). A container writes into a pipe, as in Kubernetes: were its output a
# file, whatever opens /dev/stderr anew would empty it. A process of coreutils, the pump, moves what comes into the log. The
# supervisor starts it, notes how far the log has come, and begins a new piece of it when one is full.
#
# Descriptors of a supervisor: 6 the piece that is written, 7 what the container writes into, 8 the other end of that.

log_limit=0 # bytes to keep of each log, 0 for all

# BYTES
limit_logs() { log_limit=$1; }

# LOG: begin it. If that cannot be done, 7 is closed, and the container refuses to start.
open_log() {
  log=$1 log_start=0 log_room=$((log_limit / 2)) log_noted=0 log_notes=0 log_every=5 log_pieces=()
  looks=0
  exec 6>>"$log" && exec 7<> <(:) && exec 8</proc/self/fd/7 && start_pump
} 2>/dev/null

# The pump writes what it reads at once, and of a piece that is bounded no byte too many. Signals are not for it: the last
# words of the container must still come through.
start_pump() {
  local size
  local -a command=(cat)
  log_size
  ((!log_limit)) || command=(stdbuf -o0 head -c $((log_start + log_room - size)))
  (trap '' TERM INT HUP USR1 USR2 && exec "${command[@]}" <&8 >&6 2>/dev/null 4>&- 7>&- 9<&-) &
  pump=$!
}

# The pump ends when its piece is full, or when somebody kills it: the next one goes on.
keep_log_flowing() {
  ! kill -0 "$pump" 2>/dev/null || return 0
  ! log_is_full || next_piece || return
  start_pump
}

log_is_full() {
  local size
  log_size
  ((log_limit && size >= log_start + log_room))
}

# The size of the log so far, in $size. No process and no file system is asked: the position of the descriptor says it.
log_size() {
  read -r _ size </proc/self/fdinfo/6
  size=$((log_start + size))
}

# The log's beginning stays; of what follows, the newest two pieces do. A piece is named by where it starts.
next_piece() {
  local size
  log_size
  if ((${#log_pieces[@]} == 2)); then
    rm -f -- "${log_pieces[0]}"
    log_pieces=("${log_pieces[1]}")
  fi
  { exec 6>>"$log.$size"; } 2>/dev/null || return
  log_start=$size log_room=$((log_limit / 4))
  log_pieces+=("$log.$size")
}

# Note four times a second how far the log has come; after hours of output every two seconds, as the notes are kept.
note_log() {
  local size now
  ((looks % log_every == 0)) || return 0
  log_size
  ((size > log_noted)) || return 0
  log_noted=$size
  clock
  { printf '%s %s\n' "$now" "$size" >>"${log%.log}.times"; } 2>/dev/null
  ((++log_notes % 20000 || log_every >= 40)) || log_every=$((log_every * 2))
}

# The container has ended: what is still in the pipe follows. Who has left the container and holds the pipe is not waited for.
close_log() {
  local due=$((SECONDS + 2))
  exec 7>&-
  while kill -0 "$pump" 2>/dev/null || log_is_full; do
    ((SECONDS < due)) || break
    keep_log_flowing
    tick 0.01
  done
  log_every=1
  note_log
  kill -KILL -- "-$pump" 2>/dev/null
  exec 6>&- 8<&-
}

# NUMBER: of an instance, of which nobody asks any more.
forget_log() {
  local log=$pod_folder/logs/$name.$1.log
  [[ ! -e $log ]] || rm -f -- "${log%.log}."*
}
