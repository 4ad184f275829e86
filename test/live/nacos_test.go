package live

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	registrar "github.com/poise-lb/poise/discovery/nacos"
	"github.com/poise-lb/poise/test/internal/rig"
)

func nacos2() *registry { return newNacos("nacos2", nacos2Run, "/nacos/v2/console/health/readiness") }

func nacos3() *registry { return newNacos("nacos3", nacos3Run, "/nacos/v3/admin/core/state/readiness") }

// newNacos is a server whose gRPC port is 1000 above that of HTTP, and whose ports for other
// servers are one above that and 1000 below. Those for gRPC and for other servers listen on
// every address of the machine: Nacos has no setting for it.
func newNacos(name string, run func(*server) []rig.Command, readiness string) *registry {
	return &registry{
		name: name, kind: "nacos", ports: []int{0, 1000, 1001, -1000}, relayed: 2, weights: true,
		lease: time.Second, expiry: 6 * time.Second, // the connection is the lease
		refused: `(?i)not accepted|forbidden|403|password`,
		run:     run, put: nacosPut, drop: nacosDrop, out: nacosOut,
		ready: func(s *server) error {
			b, err := request{method: "GET", url: s.url("%s", readiness)}.do()
			if err == nil && !strings.Contains(string(b), `"code":0`) {
				err = errors.New(string(b))
			}
			return err
		},
		secure: nacosSecure,
		source: func(_ *server, at, service, password string) string {
			text := fmt.Sprintf("nacos: {servers: [%q], service: %s", at, service)
			if password != "" {
				text += fmt.Sprintf(", username: nacos, password: %q", password)
			}
			return text + "}"
		},
		client: func(s *server, service string) (rig.Command, error) {
			return official(s, "nacos", s.address(), service)
		},
	}
}

const nacosLog = `<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{30} %msg%n</pattern></encoder>
  </appender>
  <logger name="com.alibaba.nacos" level="ERROR"/>
  <root level="ERROR"><appender-ref ref="out"/></root>
</configuration>
`

// nacosFiles writes what both versions expect in their folder: among it, the tables of the
// database they have within them, which stand in one of their own jars.
func nacosFiles(s *server, jar string) (conf string) {
	conf = filepath.Join(s.data, "conf")
	err := os.MkdirAll(conf, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(conf, "logback.xml"), []byte(nacosLog), 0o600)
	}
	if err == nil {
		err = unzip(filepath.Join(s.bin, "target/lib", jar), "META-INF/derby-schema.sql", filepath.Join(conf, "derby-schema.sql"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return conf
}

// unzip takes one file out of the archive that pattern names.
func unzip(pattern, name, to string) error {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: %d files, %v", pattern, len(found), err)
	}
	z, err := zip.OpenReader(found[0])
	if err != nil {
		return err
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// nacosClasses is the class path. Two of its jars have the same classes; the server starts
// with either first, and can send its pushes with one only.
func nacosClasses(s *server) string {
	first, err := filepath.Glob(filepath.Join(s.bin, "target/lib/hessian-4.*.jar"))
	if err != nil || len(first) != 1 {
		s.t.Fatalf("hessian 4: %d jars, %v", len(first), err)
	}
	return strings.Join([]string{filepath.Join(s.bin, "target/classes"), first[0], filepath.Join(s.bin, "target/lib/*")}, ":")
}

// nacosSettings are those that both versions take.
func nacosSettings(s *server) []string {
	return []string{
		"-Dnacos.standalone=true", "-Dderby.stream.error.file=" + filepath.Join(s.data, "derby.log"), "-Dnacos.home=" + s.data, "-Duser.home=" + s.data, "-Dnacos.server.ip=127.0.0.1",
		"-Dnacos.core.auth.system.type=nacos", "-Dnacos.core.auth.enabled=" + strconv.FormatBool(s.password != ""),
		"-Dnacos.core.auth.server.identity.key=live", "-Dnacos.core.auth.server.identity.value=" + secret(),
		"-Dnacos.core.auth.plugin.nacos.token.secret.key=" + b64(strings.Repeat("0", 64)),
		"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
		"--add-opens=java.base/sun.net.www.protocol.http=ALL-UNNAMED",
	}
}

func nacos2Run(s *server) []rig.Command {
	conf := nacosFiles(s, "nacos-console-*.jar")
	args := append(nacosSettings(s), "-cp", nacosClasses(s), "com.alibaba.nacos.Nacos",
		fmt.Sprintf("--server.port=%d", s.port), "--server.address=127.0.0.1",
		"--logging.config="+filepath.Join(conf, "logback.xml"), "--server.tomcat.accesslog.enabled=false",
		"--server.tomcat.basedir="+s.data, "--nacos.naming.empty-service.auto-clean=true")
	return []rig.Command{java("256m", args...)}
}

func nacos3Run(s *server) []rig.Command {
	conf := nacosFiles(s, "nacos-config-3*.jar")
	text := fmt.Sprintf("nacos.server.main.port=%d\nserver.address=127.0.0.1\nserver.tomcat.accesslog.enabled=false\nserver.tomcat.basedir=%s\n"+
		"nacos.core.auth.admin.enabled=%v\nnacos.core.auth.console.enabled=false\n"+
		"nacos.naming.empty-service.auto-clean=true\n", s.port, s.data, s.password != "")
	if err := os.WriteFile(filepath.Join(conf, "application.properties"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	args := append(nacosSettings(s), "-cp", nacosClasses(s), "RunNacos",
		"--spring.config.additional-location=file:"+conf+"/", "--logging.config="+filepath.Join(conf, "logback.xml"),
		"--spring.main.banner-mode=off")
	return []rig.Command{java("256m", args...)}
}

func (s *server) nacos(method, path string, query url.Values) ([]byte, error) {
	return request{method: method, url: s.url("/nacos%s?%s", path, query.Encode())}.do()
}

func nacosLogin(s *server, password string) (string, error) {
	b, err := s.nacos("POST", "/v1/auth/login", url.Values{"username": {"nacos"}, "password": {password}})
	if err != nil {
		return "", err
	}
	var a struct {
		Token string `json:"accessToken"`
	}
	err = json.Unmarshal(b, &a)
	if err == nil && a.Token == "" {
		err = errors.New("no token")
	}
	return a.Token, err
}

// nacosSecure gives the user nacos our password: that user is there in version 2, and is made
// by the first who asks in version 3.
func nacosSecure(s *server) error {
	if s.registry.name == "nacos3" {
		if _, err := nacosLogin(s, s.password); err == nil {
			return nil
		}
		_, err := s.nacos("POST", "/v3/auth/user/admin", url.Values{"password": {s.password}})
		if err == nil {
			err = errors.New("the user was made a moment ago") // and is known some seconds later
		}
		return err
	}
	token, err := nacosLogin(s, "nacos")
	if err == nil {
		_, err = s.nacos("PUT", "/v1/auth/users", url.Values{"username": {"nacos"}, "newPassword": {s.password}, "accessToken": {token}})
	}
	return err
}

func nacosQuery(s *server, in discovery.Instance) (url.Values, error) {
	host, port := split(in)
	q := url.Values{"serviceName": {in.Service}, "ip": {host}, "port": {strconv.Itoa(port)}, "ephemeral": {"true"}}
	if s.password == "" {
		return q, nil
	}
	token, err := nacosLogin(s, s.password)
	q.Set("accessToken", token)
	return q, err
}

// nacosPut changes the weight of an instance, or registers it for some seconds: it gets no
// heartbeat from us.
func nacosPut(s *server, in discovery.Instance) error {
	q, err := nacosQuery(s, in)
	if err != nil {
		return err
	}
	method := "POST"
	if in.Weight > 0 {
		method = "PUT"
		q.Set("weight", strconv.Itoa(in.Weight))
	}
	path := "/v1/ns/instance"
	if s.registry.name == "nacos3" && method == "PUT" {
		path = "/v3/admin/ns/instance"
	}
	_, err = s.nacos(method, path, q)
	return err
}

func nacosDrop(s *server, in discovery.Instance) error {
	q, err := nacosQuery(s, in)
	if err == nil {
		_, err = s.nacos("DELETE", "/v1/ns/instance", q)
	}
	return err
}

func announceNacos(c cast) announcer {
	return func(ctx context.Context, in discovery.Instance, report func(error)) error {
		r := registrar.RegistrarConfig{Config: registrar.Config{Servers: []string{c.Server}}}
		return registrar.NewRegistrar(r).Run(ctx, in, report)
	}
}
