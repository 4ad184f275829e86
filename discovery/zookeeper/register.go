package zookeeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// RegistrarConfig says where to announce.
type RegistrarConfig struct {
	Config

	// Session is the time after which the server removes the node of an instance that died
	// without a word. 0 means 10 s. The server has bounds of its own, by default 4 and 40 s.
	Session time.Duration
}

// removeTime bounds the removal at the end.
const removeTime = 3 * time.Second

// A Registrar announces instances. Make it with NewRegistrar. It may be used by several
// goroutines, one Run for each instance, each of which has a connection of its own.
type Registrar struct {
	config RegistrarConfig
}

// NewRegistrar returns a registrar of c.
func NewRegistrar(c RegistrarConfig) *Registrar {
	c.Session = max(cmp.Or(c.Session, 10*time.Second), time.Second)
	return &Registrar{config: c}
}

// Run makes an ephemeral node for the instance, in the form of Curator and Spring Cloud,
// makes it again whenever it is gone, and removes it when ctx is done. It calls
// report(nil) whenever it has made the node, and report with the reason when the instance
// is not announced, from its own goroutine. Run returns an error only if the instance can
// never be announced.
//
// A short loss of the connection removes nothing: the session goes on by another. A node
// of the same name that an earlier session has left is replaced in one step.
func (r *Registrar) Run(ctx context.Context, in discovery.Instance, report func(error)) error {
	path := r.config.Path
	if path == "" {
		if in.Service == "" || strings.Contains(in.Service, "/") {
			return errors.New("zookeeper: the instance has no service, or one that no node can have as its name, and there is no path")
		}
		path = "/services/" + in.Service
	}
	name := url.PathEscape(cmp.Or(in.ID, in.Address))
	if err := checkPath(path + "/" + name); err != nil {
		return fmt.Errorf("zookeeper: %w", err)
	}
	data, err := render(in, time.Now())
	if err != nil {
		return fmt.Errorf("zookeeper: %w", err)
	}
	servers, err := addresses(r.config.Servers)
	if err != nil {
		return fmt.Errorf("zookeeper: %w", err)
	}
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	a := announcement{config: r.config, servers: servers, parent: path, node: path + "/" + name, data: data}
	a.Report = report
	loop := client.Loop{Name: "zookeeper", Most: backMost, Steady: steady}
	loop.Run(ctx, func() client.Turn { return client.Turn{Err: a.session(ctx), Answered: time.Now()} }, a.Fail)
	return nil
}

// An announcement is the node of one instance. It belongs to the goroutine of Run.
type announcement struct {
	client.Announcement
	config       RegistrarConfig
	servers      []string
	parent, node string
	data         []byte
}

// session keeps the node for as long as the client library can keep a session, which it
// does over several connections. It always returns the reason of its end.
func (a *announcement) session(ctx context.Context) error {
	l, err := keep(a.servers, a.config.Session)
	if err != nil {
		return err
	}
	defer l.close()
	first := true // in this session
	for {
		patience := max(a.config.Session, openTimeout)
		if first {
			patience = openTimeout // there is no session to lose
		}
		if err := l.await(ctx, patience); err != nil {
			return err
		}
		if first && a.config.Username != "" {
			_, err := call(ctx, &l.link, pulseTimeout, func() (struct{}, error) {
				return struct{}{}, l.conn.AddAuth("digest", []byte(a.config.Username+":"+a.config.Password))
			})
			if err != nil {
				return err
			}
		}
		made, err := a.ensure(ctx, l, first)
		switch {
		case ctx.Err() != nil:
			a.remove(l)
			return ctx.Err()
		case errors.Is(err, client.Again): // the connection was lost: the session may live on
			continue
		case err != nil:
			return err
		}
		first = false
		a.Succeed(made)
		if l.pause(ctx, a.config.Session/3); ctx.Err() != nil {
			a.remove(l)
			return ctx.Err()
		}
	}
}

// ensure makes the node if it is not there. One of another session is replaced by the
// first look of a session only: later, it is that of somebody who uses the same name, and
// taking it back and forth would help nobody.
func (a *announcement) ensure(ctx context.Context, l *keeper, first bool) (made bool, err error) {
	type answer struct {
		there bool
		owner int64
	}
	for range 5 { // others may make and remove nodes meanwhile
		got, err := ask(ctx, l, func() (answer, error) {
			there, stat, err := l.conn.Exists(a.node)
			if err != nil || !there {
				return answer{}, err
			}
			return answer{true, stat.EphemeralOwner}, nil
		})
		if err != nil {
			return false, err
		}
		switch {
		case got.there && got.owner == l.conn.SessionID():
			return first, nil
		case got.there && !first:
			return false, errors.New("another session has made a node of the same name")
		}
		_, err = ask(ctx, l, func() (struct{}, error) { return struct{}{}, a.make(l.conn, got.there) })
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNodeExists):
		default:
			return false, err
		}
	}
	return false, errors.New("the node comes and goes")
}

// make makes the node and what is missing above it, or replaces the node in one step.
func (a *announcement) make(conn *zk.Conn, replace bool) error {
	acl := zk.WorldACL(zk.PermAll)
	if a.config.Username != "" { // others may read, only the user may write
		acl = append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...)
	}
	if replace {
		_, err := conn.Multi(&zk.DeleteRequest{Path: a.node, Version: -1},
			&zk.CreateRequest{Path: a.node, Data: a.data, Acl: acl, Flags: zk.FlagEphemeral})
		return err
	}
	_, err := conn.Create(a.node, a.data, zk.FlagEphemeral, acl)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	for i, c := range a.parent + "/" {
		if c != '/' || i == 0 {
			continue
		}
		_, err := conn.Create(a.parent[:i], nil, zk.FlagPersistent, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("the node %s: %w", a.parent[:i], err)
		}
	}
	_, err = conn.Create(a.node, a.data, zk.FlagEphemeral, acl)
	return err
}

// remove removes the node, if it is ours. Closing the session would, too, but does not
// wait until others can see it.
func (a *announcement) remove(l *keeper) {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime-time.Second) // the rest is for closing
	defer cancel()
	ask(ctx, l, func() (struct{}, error) {
		there, stat, err := l.conn.Exists(a.node)
		if err == nil && there && stat.EphemeralOwner == l.conn.SessionID() {
			err = l.conn.Delete(a.node, -1)
		}
		return struct{}{}, err
	})
}

// render is the data that Curator writes for Spring Cloud's instances.
func render(in discovery.Instance, now time.Time) ([]byte, error) {
	addr, err := client.Announced(in)
	if err != nil {
		return nil, err
	}
	meta := client.Metadata(in, map[string]string{
		"instance_status": cmp.Or(in.Metadata["instance_status"], "UP"), "weight": strconv.Itoa(max(in.Weight, 1)), "zone": in.Zone,
	})
	var secure *uint16
	port := addr.Port()
	if in.Scheme == "https" {
		secure = &port
	}
	name := cmp.Or(in.ID, in.Address)
	type part struct {
		Value    string `json:"value"`
		Variable bool   `json:"variable"`
	}
	return json.Marshal(map[string]any{
		"name": in.Service, "id": name, "address": addr.Addr().String(), "port": port, "sslPort": secure,
		"payload": map[string]any{
			"@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
			"id":     name, "name": in.Service, "metadata": meta,
		},
		"registrationTimeUTC": now.UnixMilli(),
		"serviceType":         "DYNAMIC",
		"uriSpec": map[string]any{"parts": []part{
			{"scheme", true}, {"://", false}, {"address", true}, {":", false}, {"port", true},
		}},
	})
}
