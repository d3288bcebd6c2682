package api

// Routes are the paths that are answered.
func Routes(a *API) []string { return a.routes }
