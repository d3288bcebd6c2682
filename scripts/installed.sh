# shellcheck shell=bash disable=SC2034
# What a machine gets and where: one list for make install, make uninstall and
# make deb. Sourced, never run, after lib.sh.

etc=/etc/autoresearch
config=$etc/autoresearch.toml
state=/var/lib/autoresearch
cache=/var/cache/autoresearch
user=autoresearch

# installed PREFIX UNITS ZSH: a line "MODE|SOURCE|FILE" for every file but the
# configuration; UNITS and ZSH are the folders of units and of zsh's functions,
# which differ between a machine's own and its packages'. BIN is the binary; what
# build.sh made of it lies beside it.
installed() {
  local bin=${BIN:-bin/autoresearchd}
  local made
  made=$(dirname "$bin")/share
  cat <<EOF
0755|$bin|$1/bin/autoresearchd
0644|configs/systemd/autoresearchd.service|$2/autoresearchd.service
0644|configs/systemd/autoresearch.sysusers.conf|/usr/lib/sysusers.d/autoresearch.conf
0644|$made/autoresearchd.1.gz|$1/share/man/man1/autoresearchd.1.gz
0644|$made/autoresearchd.bash|$1/share/bash-completion/completions/autoresearchd
0644|$made/_autoresearchd|$3/_autoresearchd
0644|$made/autoresearchd.fish|$1/share/fish/vendor_completions.d/autoresearchd.fish
EOF
}

# by_hand PREFIX: that list as make install has it.
by_hand() { installed "$1" /etc/systemd/system "$1/share/zsh/site-functions"; }

# put DEST PREFIX: installs the files of a list, read from standard input, below
# DEST; the unit names the binary below PREFIX.
put() {
  local mode source file
  while IFS='|' read -r mode source file; do
    install -d "$1${file%/*}"
    if [[ $file == *.service ]]; then
      sed "s|/usr/local/bin/|$2/bin/|g" "$source" >"$1$file"
      chmod "$mode" "$1$file"
    else
      install -m "$mode" "$source" "$1$file"
    fi
  done
}

# configured [BUDGET]: the configuration of a service: the unit's cache, named
# where every command finds it, and a budget where one is given.
configured() {
  sed -e "s|^cache *= \"\" *#|cache     = \"$cache\"   #|" ${1:+-e "s|^budget *= \"[^\"]*\"|budget    = \"$1\"|"} autoresearch.toml
}
