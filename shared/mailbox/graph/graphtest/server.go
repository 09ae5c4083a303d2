package graphtest

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// Options say how the server behaves. The zero Options are the service as published.
type Options struct {
	Addr   string          // where to listen; "" is a free port on 127.0.0.1
	TLS    *tls.Config     // serve https with these certificates, for clients that send tokens nowhere else; nil is http
	Clock  clockwork.Clock // nil is the real clock; tokens, sessions and limits live by it
	Log    *slog.Logger    // nil is silence; gets operation, status and request id, never a URL or content
	Tenant string          // directory id; "" is one made up
	Apps   []App           // app registrations; none is one app with [AllRoles]
	Key    []byte          // signs tokens; nil is random

	Limits      Limits
	RetryAfter  RetryAfter
	SessionLife time.Duration // of an import session; 0 is an hour
	DeltaLife   time.Duration // of delta tokens; 0 is for ever
	DeltaKept   int           // how many links of a collection are known, the newest; 0 is all

	SessionStatus int  // of createImportSession: 0 is 200; the concept page says 201
	ImportStatus  int  // of importItem: 0 is 200; a published sample expects 201 as well
	Addresses     bool // take an SMTP address for a mailbox id, as a published sample does
	PlainImports  bool // refuse compressed bodies at the import URL with 415
	UpperHex      bool // extended property ids with upper-case digits ("SystemTime 0xE06")
}

// OutlookLinks is how many links to the changes of a folder Outlook seems to keep: its errors name three generations
// (microsoft-graph-docs issues 2162 and 2877).
const OutlookLinks = 3

// Server is a running simulator. It is safe for concurrent use.
type Server struct {
	inFlight atomic.Int64

	o              Options
	clock          clockwork.Clock
	log            *slog.Logger
	tenant         string
	apps           []App
	key            []byte
	identityHeader string
	scheme         string // "http://" or "https://"
	origin         string
	meter          *meter
	http           *http.Server
	closed         chan struct{}

	mu        sync.Mutex
	boxes     map[string]*box
	users     []*User
	faults    []*Fault
	before    []hook
	after     []hook
	counts    map[countKey]*Count
	snapshots map[string]snapshot
	bound     map[string]bool // sessions whose cookie has been given
	unbound   int
}

// User is a person with a mailbox, or without one.
type User struct {
	ID, UPN string                // object id and principal name; "" is made from the mailbox's address
	Mailbox *exchangetest.Mailbox // nil, as on-premises: settings answer 404 MailboxNotEnabledForRESTAPI
	Archive *exchangetest.Mailbox // the in-place archive, which only beta tells of
	Hold    bool                  // litigation hold: hard deletes answer 403
	NoREST  bool                  // settings answer 404 MailboxNotEnabledForRESTAPI
}

// box is a mailbox as the server keeps it.
type box struct {
	m       *exchangetest.Mailbox
	id      string
	ids     ids
	archive bool
	hold    bool
	full    bool
	epoch   int               // sync states of an earlier epoch are gone
	links   map[string]int    // how many links to changes each collection has given
	session int               // import sessions of an earlier one are gone
	refused map[uint64]string // items that cannot be exported, with the code
	props   map[uint64][]extendedValue
}

// New starts a server and stops it with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server. Close stops it.
func Start(o Options) (*Server, error) {
	or(&o.Addr, "127.0.0.1:0")
	or(&o.SessionLife, time.Hour)
	or(&o.SessionStatus, http.StatusOK)
	or(&o.ImportStatus, http.StatusOK)
	or(&o.Tenant, uuid.NewString())
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Apps) == 0 {
		o.Apps = []App{{ID: uuid.NewString(), Roles: AllRoles()}}
	}
	if o.Key == nil {
		o.Key = random(32)
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for graph requests: %w", err)
	}
	scheme := "http://"
	if o.TLS != nil {
		c := o.TLS.Clone()
		c.NextProtos = []string{"http/1.1"} // whose connections can be reset
		scheme, l = "https://", tls.NewListener(l, c)
	}
	s := &Server{o: o, clock: o.Clock, log: o.Log, tenant: o.Tenant, apps: o.Apps, key: o.Key,
		identityHeader: hex.EncodeToString(random(16)), scheme: scheme, origin: scheme + l.Addr().String(),
		meter: newMeter(o.Clock, o.Limits, o.RetryAfter), closed: make(chan struct{}), boxes: map[string]*box{},
		counts: map[countKey]*Count{}, snapshots: map[string]snapshot{}, bound: map[string]bool{}}
	s.http = &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	go func() { _ = s.http.Serve(l) }() // ends with Close
	return s, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// Close stops the server and cuts every connection.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
		_ = s.http.Close() // nothing to save
	}
}

// URL is the base of v1.0, without a slash at its end.
func (s *Server) URL() string { return s.origin + "/v1.0" }

// BetaURL is the base of beta, without a slash at its end.
func (s *Server) BetaURL() string { return s.origin + "/beta" }

// Tenant is the directory id that tokens are for.
func (s *Server) Tenant() string { return s.tenant }

// AddMailbox adds a user with this mailbox and returns the mailbox id.
func (s *Server) AddMailbox(m *exchangetest.Mailbox) string {
	s.AddUser(User{Mailbox: m})
	return s.MailboxID(m)
}

// AddUser adds a user, and returns it with its ids filled in.
func (s *Server) AddUser(u User) User {
	if u.Mailbox != nil {
		or(&u.UPN, u.Mailbox.Address)
		or(&u.ID, uuid.NewSHA1(uuid.NameSpaceOID, u.Mailbox.GUID[:]).String())
	}
	or(&u.ID, uuid.NewString())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range [...]*exchangetest.Mailbox{u.Mailbox, u.Archive} {
		if m != nil {
			b := s.boxOf(m)
			b.hold, b.archive = u.Hold, m == u.Archive
		}
	}
	s.users = append(s.users, &u)
	return u
}

// MailboxID is the id that stands for a mailbox in paths.
func (s *Server) MailboxID(m *exchangetest.Mailbox) string {
	return "MBX:" + m.GUID.String() + "@" + s.tenant
}

// FolderID and ItemID are the ids that stand for what a mailbox holds; an item's id changes when it moves.
func (s *Server) FolderID(m *exchangetest.Mailbox, id uint64) string {
	return newIDs(m.GUID).folder(id)
}

// ItemID is the id of an item; see [Server.FolderID].
func (s *Server) ItemID(m *exchangetest.Mailbox, it exchangetest.Item) string {
	return newIDs(m.GUID).item(it.Folder, it.ID)
}

// box finds a mailbox by id, or by address where that is allowed.
func (s *Server) box(id string) (*box, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.boxes[id]; ok {
		return b, nil
	}
	for _, u := range s.users {
		if s.o.Addresses && u.Mailbox != nil && strings.EqualFold(id, u.Mailbox.Address) {
			return s.boxes[s.MailboxID(u.Mailbox)], nil
		}
	}
	return nil, noMailbox()
}

func noMailbox() *refusal {
	return refuse(http.StatusNotFound, "ResourceNotFound", "Resource could not be discovered.")
}

// boxOf finds a mailbox that was added, or adds it. The caller holds the lock.
func (s *Server) boxOf(m *exchangetest.Mailbox) *box {
	id := s.MailboxID(m)
	b, ok := s.boxes[id]
	if !ok {
		b = &box{m: m, id: id, ids: newIDs(m.GUID), refused: map[uint64]string{}, props: map[uint64][]extendedValue{}, links: map[string]int{}}
		s.boxes[id] = b
	}
	return b
}

// user finds a user by object id, principal name or address.
func (s *Server) user(key string) (*User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if strings.EqualFold(key, u.ID) || strings.EqualFold(key, u.UPN) || u.Mailbox != nil && strings.EqualFold(key, u.Mailbox.Address) {
			return u, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "Request_ResourceNotFound", "Resource '%s' does not exist or one of its queried reference-property objects are not present.", printable(key))
}
