# Named options of a launcher; `source` it.

# read_options "name1 name2 ..." ARGUMENTS: sets $name1, $name2, ... from --name1 VALUE or
# --name1=VALUE, and the array `flags` to what follows "--". Those set to no value before are needed.
read_options() {
  local known=" $1 " name value
  shift
  flags=()
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift; flags=("$@"); break ;;
      -h | --help) usage; exit 0 ;;
      --*=*) name=${1%%=*}; value=${1#*=}; shift ;;
      [!-]*) bad_usage "unexpected argument '$1'" ;;
      *) name=$1; value=${2-}; [ $# -ge 2 ] || bad_usage "$1 needs a value"; shift 2 ;;
    esac
    name=${name#--}
    case $known in
      *" $name "*) printf -v "$name" %s "$value" ;;
      *) bad_usage "unknown option --$name; flags of train.py come after --" ;;
    esac
  done
  for name in $known; do
    [ -n "${!name+set}" ] || bad_usage "--$name is needed"
  done
}

usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

bad_usage() {
  { echo "error: $1"; usage; } >&2
  exit 2
}
