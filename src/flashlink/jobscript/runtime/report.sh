# shellcheck shell=bash
# Reports to the plugin where it cannot see the folder of the pod: what the journal and the logs have grown by, as they
# grow (docs/decisions/006). The plugin answers how much of each file it has, so whatever was lost is sent again.

report_url=''         # of this pod; "" where worker and plugin share a file system
report_most=1048576   # bytes in one request
declare -A reported=() # bytes of each file that the plugin has

# URL TOKEN SECONDS AUTHORITY: AUTHORITY is certificates in PEM, or "" for those that the worker trusts.
report_to() { report_url=$1 report_token=$2 report_pause=$3 report_authority=$4; }

start_reporter() {
  local now
  if [[ -e $pod_folder/reports.json ]]; then # the plugin's own: it sees this folder
    report_url=''
  fi
  [[ $report_url ]] || return 0
  if ! type -P curl >/dev/null; then
    printf 'flashlink: no curl on this machine: state and logs reach the plugin at the end of the job only\n' >&2
    report_url=''
    return 0
  fi
  clock
  report_run=$now
  printf '%s' "$report_authority" >"$pod_folder/authority.pem" || return
  report_growth &
  reporter=$!
  disown "$reporter" # bash says nothing when we kill it
}

# Report every few seconds; when the plugin does not answer, less and less often.
report_growth() {
  trap '' TERM INT HUP USR1 USR2
  local pause=$report_pause
  while kill -0 "$$" 2>/dev/null; do
    if report; then
      pause=$report_pause
    else
      [[ $report_url ]] || return # the plugin wants no more
      pause=$((pause * 2 < 60 ? pause * 2 : 60))
    fi
    tick "$pause"
  done
}

# The last words of the job: whoever reports now asks first what the reporter has sent.
report_end() {
  local try
  [[ $report_url ]] || return 0
  kill_group "${reporter:-}"
  for try in 1 2 3; do
    if send_report </dev/null && report; then
      break
    fi
    [[ $report_url ]] || break
    tick "$try"
  done
  rm -f -- "$pod_folder/authority.pem"
}

# Send what the files have grown by, until nothing is left. Here and below it is `return 1`, never `return`: in the trap in
# which a job ends, that would be the status from before the trap.
report() {
  local -a pieces
  while :; do
    choose_pieces
    ((${#pieces[@]})) || return 0
    send_report < <(print_pieces) || return 1
  done
}

# NAME OFFSET LENGTH of each piece that is to be sent, in `pieces`. The size of the journal is taken first and the journal
# sent last: when it tells the end of a container, all that the container wrote is there.
choose_pieces() {
  local size file left=$report_most
  local -a last=()
  pieces=()
  while IFS=' ' read -r size file; do
    file=${file#"$pod_folder/"}
    if [[ $file == journal ]]; then
      last=("$size")
    else
      choose_piece "$file" "$size"
    fi
  done < <(stat -c '%s %n' -- "$pod_folder/journal" "$pod_folder"/logs/* 2>/dev/null)
  if ((${#last[@]} && left)); then
    choose_piece journal "${last[0]}"
  fi
}

# NAME SIZE
choose_piece() {
  local offset=${reported[$1]:-0} length
  length=$(($2 - offset))
  ((length <= left)) || length=$left
  if ((length > 0)); then
    pieces+=("$1" "$offset" "$length")
    left=$((left - length))
  fi
}

print_pieces() {
  local position name offset length
  for ((position = 0; position < ${#pieces[@]}; position += 3)); do
    name=${pieces[position]} offset=${pieces[position + 1]} length=${pieces[position + 2]}
    { exec 5<"$pod_folder/$name"; } 2>/dev/null || continue # a log that has grown on has lost its oldest piece
    printf '%s %s %s\n' "$name" "$offset" "$length"
    tail -c +"$((offset + 1))" <&5 | head -c "$length"
    exec 5<&-
  done
}

# Send standard input and take the answer: "SIZE NAME" of each file that the plugin has, then the status of HTTP.
send_report() {
  local answer code size name
  local -a trust=()
  [[ ! $report_authority ]] || trust=(--cacert "$pod_folder/authority.pem")
  answer=$(curl --silent --proto =https --connect-timeout 10 --max-time 60 ${trust[@]+"${trust[@]}"} \
    --config <(report_secret) --header "Flashlink-Run: $report_run" --header 'Content-Type: application/octet-stream' \
    --header 'Expect:' --data-binary @- --write-out '%{http_code}' -- "$report_url") || return 1
  code=${answer##*$'\n'} answer=${answer%$'\n'*}
  case $code in
    200) ;;
    4??)
      printf 'flashlink: the plugin takes no more reports: %s\n' "$answer" >&2
      report_url=''
      return 1
      ;;
    *) return 1 ;;
  esac
  while IFS=' ' read -r size name; do
    [[ ! $name ]] || reported[$name]=$size
  done <<<"$answer"
}

# By a pipe: a command line could be read by others.
report_secret() { printf 'header = "Authorization: Bearer %s"\n' "$report_token"; }
