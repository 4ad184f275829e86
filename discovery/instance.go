package discovery

// An Instance is what a program announces about itself to a registry.
type Instance struct {
	Service  string // the service it belongs to, as the registry names it
	ID       string // unique within the service; empty: the registrar makes one of Address
	Scheme   string // "http" or "https"; empty: "http"
	Address  string // host:port as others reach it
	Weight   int    // 0 means 1
	Zone     string
	Metadata map[string]string
}

// A Reject is an entry of a registry that is not a usable endpoint.
type Reject struct {
	ID     string // what the registry calls the entry
	Reason string
}
