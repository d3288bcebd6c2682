package trainer

import "strings"

// offline are words of errors that follow where there is no network: of name
// look-ups, of a socket that is denied, and of a model hub.
var offline = []string{
	"gaierror", "name resolution", "Name or service not known", "getaddrinfo", "Network is unreachable",
	"ConnectionError", "NewConnectionError", "ConnectError", "urlopen error", "ClientConnectorError", "Failed to connect", "Could not resolve host",
	"OfflineModeIsEnabled", "LocalEntryNotFoundError", "outgoing traffic has been disabled", "offline mode is enabled",
}

// asksNetwork reports whether an error's text says that something could not be
// had from the network.
func asksNetwork(text string) bool {
	for _, words := range offline {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// fetchFirst is what to do about it. The hub's cache is what trials read of a home.
const fetchFirst = `it asks the network for what is not on this machine, and in the sandbox trials have none: stop the daemon and, as its user, let one trial run outside, ` +
	"`autoresearchd run --trials 1 --set 'trial.sandbox=\"off\"'`; what that puts into the model hub's cache, later trials find there"
