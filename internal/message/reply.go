package message

// A Reply is a response that the proxy makes itself: a refusal, or what a filter answers. It
// is whole, so any protocol of a client can send it.
type Reply struct {
	Status int
	// Reason is a word of internal/reason for the field Poise-Reason and the access log; "" if
	// the reply is no failure.
	Reason string
	// Fields are the head's fields without those that frame the content, and without Date.
	Fields []Field
	// Body is the content; nil: none, or, if there is a Reason, what the proxy says to it, as text
	// or JSON and with its Content-Type. It is not sent in answer to HEAD.
	Body []byte
	// Close has the connection take no further request, where a connection carries one at a
	// time.
	Close bool
}
