module github.com/poise-lb/poise/discovery/zookeeper

go 1.26.0

// github.com/poise-lb/poise itself comes from the workspace (../../go.work), as
// ../../cmd/poise/go.mod explains.

require github.com/go-zookeeper/zk v1.0.4
