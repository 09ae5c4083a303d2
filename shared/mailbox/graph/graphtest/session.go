package graphtest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// createSession makes an import session of the mailbox. What the body says is not looked at.
func (c *call) createSession() error {
	if err := c.parse(entity{name: "microsoft.graph.mailbox"}); err != nil {
		return err
	}
	if _, err := c.small(); err != nil {
		return err
	}
	ends := c.s.clock.Now().Add(c.s.o.SessionLife).UTC()
	epoch := state(c, func(b *box) int { return b.session })
	token := c.s.sign(claims{Audience: importAudience, Issuer: c.s.origin, IssuedAt: c.s.clock.Now().Unix(), NotBefore: 0,
		Expires: ends.Unix(), App: c.claims.App, Tenant: c.s.tenant, Mailbox: c.box.id,
		Session: uuid.NewString() + "." + strconv.Itoa(epoch)})
	gateway := "g" + c.version // gv1.0 or gbeta
	host := strings.TrimSuffix(c.base(), "/"+c.version)
	return c.reply(c.s.o.SessionStatus, object{
		{"@odata.context", c.context("microsoft.graph.mailboxItemImportSession")},
		{"importUrl", host + "/api/" + gateway + "/Mailboxes('" + c.box.id + "')/importItem?authtoken=" + token},
		{"expirationDateTime", ends.Format("2006-01-02T15:04:05.0000000Z")},
	})
}

// openImport checks an import URL. It stands for itself: an Authorization header is not looked at.
func (s *Server) openImport(c *call) error {
	segments, err := split(c.r.URL.EscapedPath())
	if err != nil {
		return err
	}
	if len(segments) != 5 || !strings.EqualFold(segments[2], "Mailboxes") || !strings.EqualFold(segments[4], "importItem") {
		return refuse(http.StatusNotFound, "NotFound", "The requested resource was not found.")
	}
	c.version = strings.TrimPrefix(strings.ToLower(segments[1]), "g")
	if c.version != "v1.0" && c.version != "beta" {
		return refuse(http.StatusNotFound, "NotFound", "The requested resource was not found.")
	}
	if c.r.Method != http.MethodPost {
		return notAllowed("ErrorInvalidRequest", http.MethodPost)
	}
	cl, ok := s.verify(c.r.URL.Query().Get("authtoken"))
	if !ok || cl.Audience != importAudience {
		return unauthenticated("The token is not valid.")
	}
	if err := c.findBox(segments[3]); err != nil || c.box.id != cl.Mailbox {
		c.box = nil
		return refuse(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
	}
	c.claims = cl
	return c.liveSession(cl)
}

func (c *call) liveSession(cl claims) error {
	_, epoch, _ := strings.Cut(cl.Session, ".")
	current := state(c, func(b *box) int { return b.session })
	if c.s.clock.Now().Unix() >= cl.Expires || epoch != strconv.Itoa(current) {
		return unauthenticated("Access token has expired or is not yet valid.")
	}
	return nil
}

const affinityCookie = "X-BackEndCookie"

// bindSession ties a session to this server with a cookie and counts the imports that come without it.
func (s *Server) bindSession(c *call) {
	ck, err := c.r.Cookie(affinityCookie)
	if err == nil && ck.Value == c.claims.Session {
		return
	}
	s.mu.Lock()
	if s.bound[c.claims.Session] {
		s.unbound++
	}
	s.bound[c.claims.Session] = true
	s.mu.Unlock()
	http.SetCookie(c.w, &http.Cookie{Name: affinityCookie, Value: c.claims.Session, Path: "/", HttpOnly: true})
}
