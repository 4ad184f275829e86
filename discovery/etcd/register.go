package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// RegistrarConfig says where to announce, and for how long an announcement outlives its
// program.
type RegistrarConfig struct {
	Config

	// TTL is the time to live of the lease, in whole seconds: an instance that died
	// without a word is gone after it. It is renewed three times as often. 0 means 10 s;
	// etcd may grant more than was asked for.
	TTL time.Duration
}

// removeTime bounds the removal at the end.
const removeTime = 3 * time.Second

// A Registrar announces instances. Make it with NewRegistrar. It may be used by several
// goroutines, one Run for each instance.
type Registrar struct {
	config RegistrarConfig
	dial   client.DialFunc // nil but in tests
}

// NewRegistrar returns a registrar of c.
func NewRegistrar(c RegistrarConfig) *Registrar {
	c.TTL = max((cmp.Or(c.TTL, 10*time.Second) + time.Second - 1).Truncate(time.Second), time.Second)
	return &Registrar{config: c}
}

// Run writes the key of the instance under a lease, keeps the lease alive, and writes it
// again whenever it is gone, until ctx is done; then it revokes the lease, which removes
// the key. It calls report(nil) whenever it has written the key, and report with the
// reason when the instance is not announced, from its own goroutine. What somebody else
// writes to the key is left as it is. Run returns an error only if the instance can never
// be announced.
func (r *Registrar) Run(ctx context.Context, in discovery.Instance, report func(error)) error {
	value, err := render(in)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	prefix := r.config.Prefix
	if prefix == "" {
		if in.Service == "" {
			return errors.New("etcd: the instance has no service, and there is no prefix for its key")
		}
		prefix = "/services/" + in.Service + "/"
	}
	g, err := newGateway(r.config.Config, r.dial)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer g.close()
	a := announcement{gateway: g, ttl: r.config.TTL, key: []byte(prefix + cmp.Or(in.ID, in.Address)), value: value}
	a.Report = report
	loop := client.Loop{Name: "etcd", Servers: len(g.servers), Use: g.use}
	loop.Beat(ctx, r.config.TTL, a.beat, a.fail)
	a.remove(ctx)
	return nil
}

// An announcement is one key and its lease, which ends at Until. It belongs to the
// goroutine of Run.
type announcement struct {
	client.Announcement
	gateway    *gateway
	ttl        time.Duration
	key, value []byte

	lease   int64 // 0: none
	present bool  // the key was written under the lease
}

// timeout is for one call: a lease outlives a call or two that are not answered.
func (a *announcement) timeout() time.Duration {
	return min(requestTimeout, max(a.ttl/3, time.Second))
}

type leaseAnswer struct {
	ID  number `json:"ID"`
	TTL number `json:"TTL"` // 0: there is no such lease
}

// beat does what is necessary for the key to be there, and renews its lease.
func (a *announcement) beat(ctx context.Context) error {
	if a.lease != 0 {
		if err := a.renew(ctx); err != nil {
			return err
		}
	}
	if a.lease == 0 {
		a.present = false
		if err := a.grant(ctx); err != nil {
			return err
		}
	}
	if a.present {
		return a.check(ctx)
	}
	return a.put(ctx, map[string]any{"key": a.key, "value": a.value, "lease": strconv.FormatInt(a.lease, 10)})
}

func (a *announcement) grant(ctx context.Context) error {
	var l leaseAnswer
	asked := time.Now()
	in := map[string]any{"TTL": strconv.Itoa(int(a.ttl / time.Second)), "ID": "0"}
	if err := a.gateway.call(ctx, a.timeout(), "/v3/lease/grant", in, &l); err != nil {
		return err
	}
	if l.ID == 0 || l.TTL <= 0 {
		return errors.New("the server granted no lease")
	}
	a.lease = int64(l.ID)
	a.Until = asked.Add(time.Duration(l.TTL) * time.Second)
	return nil
}

// renew keeps the lease alive, and forgets it if the server does not know it.
func (a *announcement) renew(ctx context.Context) error {
	var l struct {
		Result leaseAnswer `json:"result"`
	}
	asked := time.Now()
	in := map[string]any{"ID": strconv.FormatInt(a.lease, 10)}
	if err := a.gateway.call(ctx, a.timeout(), "/v3/lease/keepalive", in, &l); err != nil {
		return err
	}
	if l.Result.TTL <= 0 {
		a.lease = 0
		return nil
	}
	a.Until = asked.Add(time.Duration(l.Result.TTL) * time.Second)
	return nil
}

// check writes the key again if somebody has removed it, and adopts it if somebody else has
// written it.
func (a *announcement) check(ctx context.Context) error {
	there, adopt, err := a.look(ctx, a.timeout())
	switch {
	case err != nil:
		return err
	case !there:
		return a.put(ctx, map[string]any{"key": a.key, "value": a.value, "lease": strconv.FormatInt(a.lease, 10)})
	case adopt:
		return a.put(ctx, a.adoption())
	}
	a.Succeed(false)
	return nil
}

// look reports whether the key is there, and whether it has no lease, so that it would
// outlive us: somebody has written it, to change the weight, say.
func (a *announcement) look(ctx context.Context, timeout time.Duration) (there, adopt bool, err error) {
	var r rangeAnswer
	if err := a.gateway.call(ctx, timeout, "/v3/kv/range", rangeRequest{Key: a.key, KeysOnly: true}, &r); err != nil || len(r.KVs) == 0 {
		return false, false, err
	}
	return true, r.KVs[0].Lease == 0, nil
}

// adoption puts the key under the lease, with the value it has.
func (a *announcement) adoption() map[string]any {
	return map[string]any{"key": a.key, "ignore_value": true, "lease": strconv.FormatInt(a.lease, 10)}
}

func (a *announcement) put(ctx context.Context, in map[string]any) error {
	var answer struct{}
	if err := a.gateway.call(ctx, a.timeout(), "/v3/kv/put", in, &answer); err != nil {
		if client.Status(err) == http.StatusNotFound {
			a.lease = 0 // the server does not know it: it ended meanwhile
		}
		return err
	}
	a.present = true
	a.Succeed(true)
	return nil
}

// fail reports a reason, unless the key is still there: it is until its lease has ended.
func (a *announcement) fail(err error) {
	if !a.present || a.lease == 0 {
		a.Until = time.Time{}
	}
	a.Fail(err)
}

// remove revokes the lease, after ctx is done. A key that was written a moment ago is put
// under it first.
func (a *announcement) remove(ctx context.Context) {
	if a.lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	var answer struct{}
	for range a.gateway.servers {
		each := removeTime / time.Duration(len(a.gateway.servers))
		if _, adopt, err := a.look(ctx, each/3); err == nil && adopt {
			a.gateway.call(ctx, each/3, "/v3/kv/put", a.adoption(), &answer) // if it fails, the key stays
		}
		err := a.gateway.call(ctx, each, "/v3/lease/revoke", map[string]any{"ID": strconv.FormatInt(a.lease, 10)}, &answer)
		if err == nil || client.Status(err) == http.StatusNotFound {
			return
		}
		a.gateway.use((a.gateway.at + 1) % len(a.gateway.servers))
	}
}
