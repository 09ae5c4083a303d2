package servicebustest

import (
	"strings"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
)

// node is what a link leads to: the token node, a queue or its dead-letter queue, or one of these' management.
type node struct {
	cbs    bool
	manage bool
	entity *broker.Entity // nil for the token node
	path   string         // lower case, for claims
}

// request tells the nodes that answer messages instead of keeping them.
func (n node) request() bool { return n.cbs || n.manage }

// find looks up an address: a path, or a URL with one. Names do not tell upper from lower case.
func (s *Server) find(address string) (node, bool) {
	path := strings.ToLower(entityPath(address))
	if path == "$cbs" {
		return node{cbs: true}, true
	}
	n := node{path: path}
	name, manage := strings.CutSuffix(path, "/$management")
	name, dead := strings.CutSuffix(name, "/$deadletterqueue")
	q := s.queues[name]
	if q == nil {
		return node{}, false
	}
	if n.manage, n.entity = manage, q.Main; dead {
		n.entity = q.Dead
	}
	return n, true
}

// entityPath is an address without scheme and host.
func entityPath(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		_, address, _ = strings.Cut(rest, "/")
	}
	return strings.Trim(address, "/")
}
