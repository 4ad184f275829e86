package config

// Where endpoints come from. A source is data here: internal/sources, or a program's own code,
// makes a discovery.Source of it.

import (
	"reflect"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// Source is where an endpoint list comes from: exactly one field is set.
type Source struct {
	File       *FileSource       `yaml:"file" doc:"a watched file"`
	DNS        *DNSSource        `yaml:"dns" doc:"addresses of a host name, or targets of an SRV record"`
	Etcd       *EtcdSource       `yaml:"etcd" doc:"keys of etcd"`
	Consul     *ConsulSource     `yaml:"consul" doc:"a service of Consul"`
	Nacos      *NacosSource      `yaml:"nacos" doc:"a service of Nacos"`
	Eureka     *EurekaSource     `yaml:"eureka" doc:"an app of Eureka"`
	Zookeeper  *ZookeeperSource  `yaml:"zookeeper" doc:"nodes of ZooKeeper"`
	Kubernetes *KubernetesSource `yaml:"kubernetes" doc:"a Service of Kubernetes"`
	// Merge is the union of several sources, as during a migration from one registry to
	// another. An endpoint that several parts name is that of the first.
	Merge []SourcePart `yaml:"merge" doc:"several sources at once: their union"`
	// Custom is any other source. Go only. Apply lets it run on if the new configuration has
	// the same value by ==: best is a pointer that is kept. Nothing looks inside the value,
	// which may be in use: one that == cannot compare (a struct with a map or a function in
	// it) counts as another source at every Apply, unless it is a map or a slice itself and
	// the same memory. discovery.Static lists are compared by content.
	Custom discovery.Source `yaml:"-"`
}

// SourcePart is one of the sources that are merged.
type SourcePart struct {
	Source `yaml:",inline"`
	// Shadow has the part watched and compared with the others, but not used: what differs
	// is logged.
	Shadow bool `yaml:"shadow" doc:"watched and compared with the others, but not used"`
}

// FileSource watches a YAML or JSON file with a list like Service.Endpoints. The short form is its path.
type FileSource struct {
	Path string `yaml:"path" doc:"YAML or JSON file with a list of endpoints, read again when it changes" required:"true" short:"true" path:"true"`
}

// DNSSource resolves a name again as its TTL says and keeps the last set when it cannot. It has
// either a URL or an SRV. The short form is its URL.
type DNSSource struct {
	URL string `yaml:"url" doc:"scheme://name:port; each address is an endpoint" short:"true"`
	// SRV is the name of an SRV record, which says ports and weights (RFC 2782).
	SRV string `yaml:"srv" doc:"name of an SRV record, instead of url; each of its targets is an endpoint" example:"_http._tcp.users.example"`
	// Scheme is that of the endpoints of SRV. A URL begins with its own.
	Scheme string `yaml:"scheme" doc:"of the endpoints of srv: http, https or h2c; empty: http"`
	// Server is the name server to ask: a literal IP address with or without a port, which is
	// 53 if it is left out. Empty: those of /etc/resolv.conf, after /etc/hosts.
	Server string `yaml:"server" doc:"name server to ask, address:port; empty: those of /etc/resolv.conf" example:"10.0.0.10:53"`
}

// EtcdSource watches the keys below a prefix. What keys and values look like is in
// docs/discovery/etcd.md.
type EtcdSource struct {
	// Servers are the members' client URLs, tried in turn. Without a scheme they are http,
	// or https if TLS is given.
	Servers []string `yaml:"servers" doc:"client URLs of the members" required:"true" example:"http://127.0.0.1:2379"`
	// Prefix is taken as it is: without a slash at its end, keys of services whose names
	// begin alike are taken too.
	Prefix   string     `yaml:"prefix" doc:"what the keys of the service begin with; end it with a slash" required:"true" example:"/services/users/"`
	Username string     `yaml:"username" doc:"of a server with authentication; empty: no login"`
	Password string     `yaml:"password" secret:"true" doc:"as in ${file:/run/secrets/etcd}"`
	TLS      *SourceTLS `yaml:"tls" doc:"how https servers are verified"`
	Scheme   string     `yaml:"scheme" doc:"of endpoints whose values name none: http, https or h2c" enum:"http,https,h2c" default:"http"`
}

// ConsulSource watches the passing instances of a service.
type ConsulSource struct {
	// Server is the URL of an agent, best of that beside the proxy; Servers are several,
	// tried in turn. At most one of them is given. Neither: http://127.0.0.1:8500, or https
	// if TLS is given.
	Server     string   `yaml:"server" doc:"URL of the agent; empty: http://127.0.0.1:8500" example:"http://127.0.0.1:8500"`
	Servers    []string `yaml:"servers" doc:"URLs of several agents, tried in turn, instead of server"`
	Service    string   `yaml:"service" doc:"name of the service in the catalog" required:"true"`
	Tag        string   `yaml:"tag" doc:"only instances that have it"`
	Tags       []string `yaml:"tags" doc:"only instances that have all of them, instead of tag"`
	Datacenter string   `yaml:"datacenter" doc:"empty: the agent's own"`
	Namespace  string   `yaml:"namespace" doc:"of Consul Enterprise; empty: the token's, or default"`
	Partition  string   `yaml:"partition" doc:"of Consul Enterprise; empty: the agent's own"`
	// Stale and Cached take load off the servers: an answer may then be behind, by ten
	// seconds at most.
	Stale  bool `yaml:"stale" doc:"any server may answer, not the leader alone: behind it by a moment"`
	Cached bool `yaml:"cached" doc:"the agent may answer from its copy, which all its clients share"`
	// Wait is that of one query. An agent that hangs is noticed sooner: it is asked every
	// few seconds whether it is there.
	Wait    time.Duration `yaml:"wait" doc:"how long a query waits for news" default:"5m" min:"1s" max:"10m"`
	Token   string        `yaml:"token" secret:"true" doc:"ACL token, as in ${file:/run/secrets/consul}; empty: the anonymous one"`
	TLS     *SourceTLS    `yaml:"tls" doc:"how https agents are verified"`
	Scheme  string        `yaml:"scheme" doc:"of instances whose metadata name none: http, https or h2c" enum:"http,https,h2c" default:"http"`
	ZoneKey string        `yaml:"zone_key" doc:"metadata of the service, or else of the node, that holds the zone" default:"zone"`
}

// NacosSource receives the healthy, enabled instances of a service by push. Sources with
// the same servers, namespace and user share one connection.
type NacosSource struct {
	Servers []string `yaml:"servers" doc:"host:port of the servers' HTTP interface, or URLs" required:"true" example:"127.0.0.1:8848"`
	// Namespace is the namespace's id, which for all but public differs from its name.
	Namespace string   `yaml:"namespace" doc:"id of the namespace" default:"public"`
	Group     string   `yaml:"group" doc:"group of the service" default:"DEFAULT_GROUP"`
	Service   string   `yaml:"service" doc:"name of the service" required:"true"`
	Clusters  []string `yaml:"clusters" doc:"only instances of these clusters; empty: of all"`
	Username  string   `yaml:"username" doc:"of a server with authentication; empty: no login"`
	Password  string   `yaml:"password" secret:"true" doc:"as in ${file:/run/secrets/nacos}"`
	// AccessKey and SecretKey sign every request about a service.
	AccessKey string     `yaml:"access_key" doc:"of servers that want requests signed; empty: they are not"`
	SecretKey string     `yaml:"secret_key" secret:"true" doc:"as in ${file:/run/secrets/nacos-key}"`
	TLS       *SourceTLS `yaml:"tls" doc:"encrypts the gRPC connection too; absent: it is plain"`
	// PortOffset is how far a server's gRPC port is above its HTTP port.
	PortOffset int    `yaml:"port_offset" doc:"from a server's HTTP port to its gRPC port" default:"1000" min:"-65534" max:"65534"`
	Scheme     string `yaml:"scheme" doc:"of instances whose metadata say nothing: http, https or h2c" enum:"http,https,h2c" default:"http"`
	ZoneKey    string `yaml:"zone_key" doc:"metadata that hold the zone; without them the cluster is the zone" default:"zone"`
}

// EurekaSource polls a registry for the instances of an app that are UP. Sources with the
// same servers and user share one copy of the registry, and so one poll.
type EurekaSource struct {
	// Servers may have user and password in their URLs.
	Servers  []string      `yaml:"servers" doc:"base URLs of the servers, which are replicas" required:"true" example:"http://127.0.0.1:8761/eureka"`
	App      string        `yaml:"app" doc:"name of the app, in upper or lower case" required:"true" example:"USERS"`
	Username string        `yaml:"username" doc:"for servers whose URL has none; empty: no credentials"`
	Password string        `yaml:"password" secret:"true" doc:"as in ${file:/run/secrets/eureka}"`
	TLS      *SourceTLS    `yaml:"tls" doc:"how https servers are verified"`
	Interval time.Duration `yaml:"interval" doc:"between polls, jittered by 10 %" default:"5s" min:"100ms"`
	// WeightKey and ZoneKey are names of metadata: Eureka has no weights of its own.
	WeightKey string `yaml:"weight_key" doc:"metadata that hold the weight" default:"weight"`
	ZoneKey   string `yaml:"zone_key" doc:"metadata that hold the zone" default:"zone"`
	// Prefer says which of the two that every instance gives is used. A host name is resolved
	// again and again, as one in a URL.
	Prefer string `yaml:"prefer" doc:"address of an instance: its ip, or its host name" enum:"ip,host" default:"ip"`
}

// ZookeeperSource watches the children of a node, as Curator, Spring Cloud and Dubbo make
// them. Sources with the same servers and user share one connection.
type ZookeeperSource struct {
	Servers  []string `yaml:"servers" doc:"host:port of the ensemble's members" required:"true" example:"127.0.0.1:2181"`
	Path     string   `yaml:"path" doc:"node whose children are the instances" required:"true" example:"/services/users"`
	Username string   `yaml:"username" doc:"of the digest scheme; empty: no authentication"`
	Password string   `yaml:"password" secret:"true" doc:"as in ${file:/run/secrets/zookeeper}"`
	Protocol string   `yaml:"protocol" doc:"of those that a Dubbo provider offers; empty: the first over HTTP" example:"tri"`
	Scheme   string   `yaml:"scheme" doc:"of instances that do not say: http, https or h2c" enum:"http,https,h2c" default:"http"`
}

// KubernetesSource watches the EndpointSlices of a Service. With a service alone it works
// within a pod, by the pod's service account.
type KubernetesSource struct {
	Namespace string `yaml:"namespace" doc:"of the Service; empty: the pod's own, or that of the kubeconfig"`
	Service   string `yaml:"service" doc:"name of the Service" required:"true"`
	Port      string `yaml:"port" doc:"name of the port, or the number that pods listen on; empty: the only one, or http" example:"http"`
	Scheme    string `yaml:"scheme" doc:"http, https or h2c; empty: by the port's name or protocol"`
	// Kubeconfig is for a proxy outside of the cluster; Server and what follows are for one
	// without such a file. At most one of both is given.
	Kubeconfig string     `yaml:"kubeconfig" doc:"file that says which cluster; empty: the pod's own" path:"true"`
	Context    string     `yaml:"context" doc:"of the kubeconfig; empty: its current one"`
	Server     string     `yaml:"server" doc:"URL of the API server, instead of kubeconfig" example:"https://10.0.0.1:6443"`
	Token      string     `yaml:"token" secret:"true" doc:"bearer token, as in ${VAR}"`
	TokenFile  string     `yaml:"token_file" doc:"file with the bearer token, read again for every request" path:"true"`
	TLS        *SourceTLS `yaml:"tls" doc:"how the server is verified; absent: by the system's authorities"`
}

// SourceTLS is how the server of a registry is verified, and how it verifies the proxy.
type SourceTLS struct {
	CA   string `yaml:"ca" doc:"PEM file with the authorities to trust; empty: the system's" path:"true"`
	Cert string `yaml:"cert" doc:"PEM file with the proxy's own certificate chain, read again for every connection" path:"true"`
	Key  string `yaml:"key" doc:"PEM file with its private key" path:"true"`
	// ServerName is for servers that are reached by an address which is not in their
	// certificate.
	ServerName string `yaml:"server_name" doc:"name to verify; empty: the host of the server's URL"`
	Insecure   bool   `yaml:"insecure_skip_verify" doc:"accept any certificate: for tests only"`
}

// Kind is the key of the one source that s names, "custom" for Custom, and "" if it names none.
func (s *Source) Kind() string {
	if s.Custom != nil {
		return "custom"
	}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); !v.Field(i).IsZero() {
			return f.Tag.Get("yaml")
		}
	}
	return ""
}
