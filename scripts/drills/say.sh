# shellcheck shell=bash disable=SC2034
# How a drill says what it did and what it saw. Sourced by the drills, which have
# sh, that runs a line where the drill plays, and outcome, called as a step ends.
# Sets: failed, number, at and before (of the step that goes on).

failed=0 number=0 at='' before=0
step() { outcome; number=$((number + 1)) at=$* before=$failed; printf '\n%2d. %s\n' "$number" "$*"; }
ok() { printf '    ok    %s\n' "$*"; }
FAIL() {
  failed=$((failed + 1))
  printf '    FAIL  %s\n' "$1"
  if [ -n "${2:-}" ]; then printf '%s\n' "$2" | sed 's/^/          | /'; fi
}
# ends STATUS WHAT COMMAND: the status that a command ends with; its words are in $said.
ends() {
  local want=$1 what=$2 got=0
  said=$(sh "$3" 2>&1) || got=$?
  case $want in
  "$got") ok "$what ($got)" ;;
  not0) if [ "$got" != 0 ]; then ok "$what ($got)"; else FAIL "$what: it ended with 0" "$said"; fi ;;
  *) FAIL "$what: ended with $got, not $want" "$said" ;;
  esac
}
# says WORDS…: all of them stand in $said.
says() {
  local w
  for w in "$@"; do
    if [[ $said == *"$w"* ]]; then ok "says: $w"; else FAIL "does not say: $w" "$said"; fi
  done
}
silent() {
  local w
  for w in "$@"; do
    if [[ $said == *"$w"* ]]; then FAIL "says: $w" "$said"; else ok "does not say: $w"; fi
  done
}
# becomes WHAT COMMAND WORDS [SECONDS]: what a command prints comes to hold the words,
# long before the seconds on a machine that does nothing else.
becomes() {
  local deadline=$((SECONDS + ${4:-120}))
  while :; do
    said=$(sh "$2" 2>&1) || true
    if [[ $said == *"$3"* ]]; then ok "$1: $3"; return; fi
    if [ "$SECONDS" -ge "$deadline" ]; then FAIL "$1: not $3 within ${4:-120} s" "$said"; return; fi
    sleep 0.2
  done
}
