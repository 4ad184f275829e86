package poise

import (
	"context"

	"github.com/poise-lb/poise/internal/front"
)

// What Proxy.Send sends, and what became of it; values for encoding/json.
type (
	SendRequest = front.SendRequest
	Sent        = front.Sent
	SentAttempt = front.SentAttempt
)

// Send sends a request through the proxy, as a client at 127.0.0.1 would, and says what became of
// it: the answer, the route, and every attempt with its endpoint. It goes where the routes lead and
// nowhere else, whatever host its URL names, and it counts as a request of a client. It takes at
// most 10 seconds and keeps at most 64 KiB of the answer. The error says that q is no request.
func (p *Proxy) Send(ctx context.Context, q SendRequest) (Sent, error) {
	return p.server.Send(ctx, q)
}
