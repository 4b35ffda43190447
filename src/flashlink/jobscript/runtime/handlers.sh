# shellcheck shell=bash
# What probes and hooks do: a command in the running container, a request, a connection, a pause.

# LIMIT HANDLER...: true if the handler says within LIMIT seconds (0: it may take for ever) that all is well; otherwise $failure
# says why not.
attempt() {
  local limit=$1 code left
  shift
  begin_attempt "$@"
  for ((left = limit * 20; limit == 0 || left > 0; left--)); do
    kill -0 "$attempting" 2>/dev/null || break
    tick 0.05
  done
  if kill -0 "$attempting" 2>/dev/null; then
    end_attempt
    failure="no answer within $limit s"
    return 1
  fi
  await "$attempting"
  attempting=''
  ((code)) || return 0
  failure=$(attempt_said "$code")
  return 1
}

# HANDLER...: start it, in a process group of its own: $attempting.
begin_attempt() {
  ("handle_$1" "${@:2}") </dev/null >"$pod_folder/tmp/$name.said" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8<&- 9<&- &
  attempting=$!
}

end_attempt() {
  end_helper "$attempting"
  attempting=''
}

# CODE: why the handler failed, in its own words where it has some.
attempt_said() {
  local said=''
  IFS= read -r -d '' -n 300 said <"$pod_folder/tmp/$name.said"
  read -r -d '' said <<<"$said" # without blanks around it
  if [[ $1 == 125 ]]; then # our own words
    printf '%s' "$said"
  else
    printf '%s' "exit code $1${said:+: $said}"
  fi
}

# MESSAGE: the handler cannot say that all is well.
fail() {
  printf '%s\n' "$1"
  exit 125
}

# SECONDS
handle_sleep() { exec sleep "$1"; }

# HOST PORT
handle_tcp() { { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null || fail "cannot connect to $1 port $2"; }

# COMMAND...: in the container.
handle_exec() {
  umask 022
  if [[ $pod_runtime == host ]]; then
    enter_process "$@"
  elif has_util_linux; then
    enter_container "$@"
  else
    join_container "$@"
  fi
}

# SCHEME HOST PORT PATH [NAME VALUE]...: what answers with a status from 200 to 399 is well, as the kubelet has it: it follows up
# to ten redirects to the same host, and is content with one to another.
handle_http() {
  local scheme=$1 host=$2 port=$3 path=$4 status location hop
  local -a headers=("${@:5}")
  trap '' PIPE
  for hop in {0..10}; do
    status='' location=''
    "request_$scheme"
    [[ $status =~ ^[1-9][0-9][0-9]$ ]] || fail "no HTTP answer from $host port $port"
    if ((status < 300 || status > 399)) || ! redirect "$location"; then
      ((status >= 200 && status < 400)) || fail "HTTP status $status"
      return 0
    fi
  done
  fail "stopped after $hop redirects"
}

# The answer's $status and $location, by nothing but bash.
request_http() {
  local line position
  { exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || fail "cannot connect to $host port $port"
  line="GET $path HTTP/1.1"$'\r\n'
  has_header host || line+="Host: $host:$port"$'\r\n'
  has_header user-agent || line+='User-Agent: kube-probe/flashlink'$'\r\n'
  has_header accept || line+='Accept: */*'$'\r\n'
  for ((position = 0; position < ${#headers[@]}; position += 2)); do
    line+="${headers[position]}: ${headers[position + 1]}"$'\r\n'
  done
  printf '%sConnection: close\r\n\r\n' "$line" >&3 2>/dev/null
  while IFS= read -r line <&3 && [[ $line != $'\r' ]]; do
    line=${line%$'\r'}
    if [[ ! $status && $line =~ ^HTTP/[0-9.]+\ ([0-9]+) ]]; then
      status=${BASH_REMATCH[1]}
    elif [[ ${line,,} == location:* ]]; then
      read -r location <<<"${line#*:}"
    fi
    [[ $status == 3* ]] || break # the rest does not matter
  done
  exec 3>&-
}

# NAME: true if the headers have it; small letters.
has_header() {
  local position
  for ((position = 0; position < ${#headers[@]}; position += 2)); do
    [[ ${headers[position],,} != "$1" ]] || return 0
  done
  return 1
}

# The same by curl. What it is to do comes by its standard input: headers can hold secrets.
request_https() {
  local address=$host position
  type -P curl >/dev/null || fail 'an HTTPS request needs curl, which this machine has not'
  [[ $host != *:* ]] || address="[$host]"
  read -r status location < <({
    printf 'url = "%s"\n' "$(curl_word "https://$address:$port$path")"
    has_header user-agent || printf 'user-agent = "kube-probe/flashlink"\n'
    for ((position = 0; position < ${#headers[@]}; position += 2)); do
      printf 'header = "%s"\n' "$(curl_word "${headers[position]}: ${headers[position + 1]}")"
    done
  } | curl -q --config - --silent --insecure --globoff --noproxy '*' --output /dev/null \
    --write-out '%{http_code} %{redirect_url}\n' 2>/dev/null)
}

# TEXT: as it stands between double quotes in curl's configuration.
curl_word() {
  local text=${1//\\/\\\\} quote='"'
  printf '%s' "${text//$quote/\\$quote}"
}

# LOCATION: set the next request's $scheme, $port and $path; false if it is on another host, or none.
redirect() {
  local url='^(https?)://([^/?#]+)([^#]*)' address
  if [[ $1 =~ $url ]]; then
    address=${BASH_REMATCH[2]}
    [[ ${address%:*} == "$host" || $address == "$host" ]] || return 1
    scheme=${BASH_REMATCH[1]} path=${BASH_REMATCH[3]}
    [[ $path == /* ]] || path=/$path
    port=80
    [[ $scheme == http ]] || port=443
    [[ $address == "$host" ]] || port=${address##*:}
  elif [[ $1 == /* && $1 != //* ]]; then
    path=${1%%#*}
  elif [[ $1 && $1 != *:* ]]; then
    path=${path%%\?*}
    path=${path%/*}/${1%%#*}
  else
    return 1
  fi
}
