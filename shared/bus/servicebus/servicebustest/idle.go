package servicebustest

import (
	"fmt"
	"time"
)

// What the service does about connections and links that nobody uses:
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot
const (
	linkIdle  = 10 * time.Minute // without a transfer, a flow or a decision on the link
	firstLink = time.Minute      // from the open to the first link
	nextLink  = 5 * time.Minute  // without a link after that
)

const (
	detachForced     = "amqp:link:detach-forced"
	connectionForced = "amqp:connection:forced"
)

func (l *link) use() { l.used = l.conn().now() }

// unused detaches the links of queues that were idle for too long, and closes a connection that had no link for
// too long. It tells whether it has closed it.
func (c *conn) unused(now time.Time) (closed bool) {
	links := 0
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.answered && !l.detached && !l.node.request() && now.Sub(l.used) >= linkIdle {
				l.fail(detachForced, fmt.Sprintf("The link '%s' is force detached by the broker. Idle timeout: %v.", l.a.Name, linkIdle))
			}
			if !l.detached {
				links++
			}
		}
	}
	if links > 0 {
		c.bare, c.linked = time.Time{}, true
		return false
	}
	if c.bare.IsZero() {
		c.bare = now
	}
	limit := firstLink
	if c.linked {
		limit = nextLink
	}
	if now.Sub(c.bare) < limit {
		return false
	}
	c.fail(connectionForced, fmt.Sprintf("The connection was inactive for more than the allowed %d milliseconds and is closed.", limit.Milliseconds()))
	return true
}
