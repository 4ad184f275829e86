package filter

// A Slot is the place of a filter in the life of an exchange. The slots are in the order in
// which they run: this list is the only place that says so. A new kind of filter takes the
// slot that its neighbours suggest, or gets one here.
//
// A request passes the slots up to Split before the policy picks an endpoint; each filter runs
// once per exchange, however many attempts follow. The response passes all of them, in the
// same order: what stands further down sees what those above have made of it.
type Slot uint8

// The slots.
const (
	// Access decides which requests are allowed at all: by address, host, path or method.
	Access Slot = iota
	// AddressLimit bounds the requests of one client, as known by its address.
	AddressLimit
	// CORS answers preflights, before Auth: they carry no credentials.
	CORS
	// Auth finds the identity of the client.
	Auth
	// IdentityLimit bounds how much one identity may ask.
	IdentityLimit
	// BodyLimit bounds the request's content, or checks it.
	BodyLimit
	// Translate speaks another protocol to the endpoint than the client does: head and content
	// both ways. The slots below see what the endpoint sees.
	Translate
	// Rewrite changes the head. The route's own rules (package rewrite) are applied to the
	// request here, before other filters of this slot, and to the response of the endpoint
	// before all filters.
	Rewrite
	// Split chooses among variants of a service: lanes, shares of traffic.
	Split

	// Here the policy picks an endpoint, and attempts follow.

	// Compress changes the response's content. It is the last: others want to see that as the
	// endpoint sent it.
	Compress

	slots // how many there are
)

var names = [slots]string{"access", "address-limit", "cors", "auth", "identity-limit", "body-limit", "translate", "rewrite", "split", "compress"}

func (s Slot) String() string {
	if s < slots {
		return names[s]
	}
	return "no slot"
}
