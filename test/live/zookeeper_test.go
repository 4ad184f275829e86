package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/poise-lb/poise/discovery"
	registrar "github.com/poise-lb/poise/discovery/zookeeper"
	"github.com/poise-lb/poise/test/internal/rig"
)

func zookeeper() *registry {
	return &registry{
		name: "zookeeper", kind: "zookeeper", weights: true,
		lease: 3 * time.Second, expiry: 6 * time.Second,
		refused: `may not read|password is wrong`,
		run:     zookeeperRun, ready: zookeeperReady, put: zookeeperPut, drop: zookeeperDrop,
		secure: func(*server) error { return nil }, // every node has its own list
		source: func(_ *server, at, service, password string) string {
			text := fmt.Sprintf("zookeeper: {servers: [%q], path: /services/%s", at, service)
			if password != "" {
				text += fmt.Sprintf(", username: live, password: %q", password)
			}
			return text + "}"
		},
		client: func(s *server, service string) (rig.Command, error) {
			return official(s, "zookeeper", s.address(), "/services/"+service)
		},
	}
}

// java is the start of a command line of a small, quiet Java server.
func java(heap string, args ...string) rig.Command {
	return rig.Command{Path: "java", Args: append([]string{"-Xmx" + heap, "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}, args...)}
}

func zookeeperRun(s *server) []rig.Command {
	file := filepath.Join(s.data, "zoo.cfg")
	text := fmt.Sprintf("clientPort=%d\nclientPortAddress=127.0.0.1\ndataDir=%s\ntickTime=500\n"+
		"admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n", s.port, filepath.Join(s.data, "data"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return []rig.Command{java("256m", "-Dzookeeper.forceSync=no", "-Dzookeeper.jmx.log4j.disable=true",
		"-cp", filepath.Join(s.bin, "target/lib/*"), "org.apache.zookeeper.server.quorum.QuorumPeerMain", file)}
}

func zookeeperReady(s *server) error {
	c, err := net.DialTimeout("tcp", s.address(), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	io.WriteString(c, "srvr") // "ruok" is answered before sessions are
	b, err := io.ReadAll(c)
	if err == nil && !strings.Contains(string(b), "Mode: standalone") {
		err = fmt.Errorf("it answers %q", b)
	}
	return err
}

// zookeeperDo does something in a session of its own, as the server's user if it has one.
func zookeeperDo(s *server, do func(c *zk.Conn) error) error {
	c, _, err := zk.Connect([]string{s.address()}, 5*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return err
	}
	defer c.Close()
	if s.password != "" {
		if err := c.AddAuth("digest", []byte("live:"+s.password)); err != nil {
			return err
		}
	}
	return do(c)
}

// zookeeperPut makes or changes a node with the simplest content that is understood.
func zookeeperPut(s *server, in discovery.Instance) error {
	data := fmt.Appendf(nil, `{"url": "http://%s", "weight": %d}`, in.Address, max(in.Weight, 1))
	acl := zk.WorldACL(zk.PermAll)
	if s.password != "" {
		acl = zk.DigestACL(zk.PermAll, "live", s.password)
	}
	return zookeeperDo(s, func(c *zk.Conn) error {
		path := ""
		for _, part := range strings.Split("services/"+in.Service+"/"+in.Address, "/") {
			path += "/" + part
			content := []byte(nil)
			if part == in.Address {
				content = data
			}
			if _, err := c.Create(path, content, 0, acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
		_, err := c.Set(path, data, -1)
		return err
	})
}

func zookeeperDrop(s *server, in discovery.Instance) error {
	return zookeeperDo(s, func(c *zk.Conn) error { return c.Delete("/services/"+in.Service+"/"+in.Address, -1) })
}

func announceZookeeper(c cast) announcer {
	r := registrar.NewRegistrar(registrar.RegistrarConfig{Config: registrar.Config{Servers: []string{c.Server}}, Session: c.Lease})
	return func(ctx context.Context, in discovery.Instance, report func(error)) error {
		return r.Run(ctx, in, report)
	}
}
