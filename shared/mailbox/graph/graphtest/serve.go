package graphtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

const jsonType = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"

// maxJSON is the largest body of an ordinary JSON request; Graph takes 4 MB.
const maxJSON = 4_000_000

// call is one request on its way through the server.
type call struct {
	s       *Server
	w       *answer
	r       *http.Request
	ctx     context.Context
	op      Op
	version string // "v1.0" or "beta"
	claims  claims
	parts   map[string]string
	box     *box
	user    *User
	query   *query
	fault   *Fault
	body    *countedBody
}

// answer is a response writer that remembers what was answered, and may throw it away.
type answer struct {
	http.ResponseWriter
	status int
	n      int64
	lost   bool
	most   int64 // bytes until the connection ends; 0: all
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) Header() http.Header {
	if a.lost {
		return http.Header{}
	}
	return a.ResponseWriter.Header()
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		if !a.lost {
			a.ResponseWriter.WriteHeader(status)
		}
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.n += int64(len(b))
	if a.lost {
		return len(b), nil
	}
	if a.most > 0 && a.n > a.most {
		_, _ = a.ResponseWriter.Write(b[:max(0, int64(len(b))-(a.n-a.most))])
		_ = http.NewResponseController(a.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return a.ResponseWriter.Write(b)
}

// cut ends the connection with a reset, so that the client cannot tell what became of its request. Inside a batch
// there is no connection of its own, and the entry becomes a 502.
func (a *answer) cut() {
	conn, _, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		a.ResponseWriter.WriteHeader(http.StatusBadGateway)
		return
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes Close a reset
	}
	_ = conn.Close()
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	stamp(w, r)
	w.Header().Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
	path := r.URL.EscapedPath()
	switch {
	case path == identityPath:
		s.identity(w, r)
	case strings.HasPrefix(strings.ToLower(path), "/api/g"):
		s.run(&call{s: s, w: &answer{ResponseWriter: w}, r: r, ctx: r.Context(), op: ImportItem}, s.openImport)
	default:
		s.graph(w, r)
	}
}

// stamp sets the ids that every answer carries.
func stamp(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	w.Header().Set("request-id", id)
	if c := r.Header.Get("client-request-id"); c != "" && len(c) <= 100 {
		id = c
	}
	w.Header().Set("client-request-id", id)
}

// graph answers a request to graph.microsoft.com.
func (s *Server) graph(w http.ResponseWriter, r *http.Request) {
	c, err := s.authenticate(r)
	if err == nil {
		s.api(w, r, c)
		return
	}
	s.writeRefusal(w, asRefusal(err))
	s.note("", Any, &answer{status: http.StatusUnauthorized}, 0)
}

// api answers an authenticated request, which may be an entry of a batch.
func (s *Server) api(w http.ResponseWriter, r *http.Request, cl claims) {
	c := &call{s: s, w: &answer{ResponseWriter: w}, r: r, ctx: r.Context(), claims: cl}
	s.run(c, s.openGraph)
}

// openGraph finds out what a Graph request is for and whether its sender may ask.
func (s *Server) openGraph(c *call) error {
	if err := s.meter.admitApp(c.claims.App); err != nil {
		return err
	}
	v, rest, ok := version(c.r.URL.EscapedPath())
	if !ok {
		return badRequest("Invalid version: %s", printable(v))
	}
	c.version = v
	segments, err := split(rest)
	if err != nil {
		return err
	}
	if c.op, c.parts, err = match(c.r.Method, segments); err != nil {
		return err
	}
	if c.op == Batch {
		return nil
	}
	denied := permitted(c.claims, c.op)
	if c.op == ReadSettings {
		err = c.findUser()
	} else {
		err = c.findBox(c.parts["mailbox"])
	}
	return cmp.Or(denied, err)
}

// findBox finds the mailbox of a path. v1.0 knows no archives.
func (c *call) findBox(id string) error {
	b, err := c.s.box(id)
	if err == nil && b.archive && c.version != "beta" {
		err = noMailbox()
	}
	if err != nil {
		return err
	}
	c.box = b
	return nil
}

// findUser also finds the user's mailbox, because reading the settings counts against it.
func (c *call) findUser() (err error) {
	if c.user, err = c.s.user(c.parts["user"]); err == nil && c.user.Mailbox != nil {
		c.box, err = c.s.box(c.s.MailboxID(c.user.Mailbox))
	}
	return err
}

// run takes a call from its opening to its answer. The connection is cut last, when the call has left the meter.
func (s *Server) run(c *call, open func(*call) error) {
	c.body = &countedBody{call: c, r: c.r.Body}
	cut := s.serve(c, open)
	c.drain()
	s.runHooks(&s.after, c)
	mailbox := ""
	if c.box != nil {
		mailbox = c.box.id
	}
	s.note(mailbox, c.op, c.w, c.body.n)
	s.log.LogAttrs(c.ctx, slog.LevelDebug, "graph request", logAttrs(c)...)
	if cut {
		c.w.cut()
	}
}

func (s *Server) serve(c *call, open func(*call) error) (cut bool) {
	if err := open(c); err != nil {
		if c.box != nil {
			s.meter.refused(c.lane())
		}
		s.writeRefusal(c.w, asRefusal(err))
		return false
	}
	if c.box != nil {
		k := laneKey{c.claims.App, c.box.id}
		defer s.meter.leave(k)
		if err := s.meter.admit(k); err != nil {
			s.writeRefusal(c.w, asRefusal(err))
			return false
		}
	}
	c.fault = s.faultFor(c)
	if cut, answered := c.fault.strike(c); answered {
		return cut
	}
	if s.runHooks(&s.before, c) {
		return false
	}
	if err := c.answer(); err != nil {
		s.writeRefusal(c.w, asRefusal(err))
	}
	return c.w.lost
}

// answer does what was asked.
func (c *call) answer() error {
	if err := c.openBody(); err != nil {
		return err
	}
	switch c.op {
	case Batch:
		return c.batch()
	case ReadSettings:
		return c.readSettings()
	case ReadMailbox:
		return c.readMailbox()
	case ListFolders:
		return c.listFolders()
	case ReadFolder:
		return c.readFolder()
	case DeltaFolders:
		return c.deltaFolders()
	case CreateFolder:
		return c.createFolder()
	case UpdateFolder:
		return c.updateFolder()
	case DeleteFolder:
		return c.deleteFolder()
	case CountFolders:
		return c.countFolders()
	case CountItems:
		return c.countItems()
	case ListItems:
		return c.listItems()
	case ReadItem:
		return c.readItem()
	case DeltaItems:
		return c.deltaItems()
	case DeleteItem:
		return c.deleteItem()
	case ExportItems:
		return c.exportItems()
	case CreateSession:
		return c.createSession()
	}
	return c.importItem()
}

// parse reads the options of the query.
func (c *call) parse(e entity, allowed ...string) (err error) {
	rules := queryRules{allowed: allowed, beta: c.version == "beta"}
	switch c.op {
	case DeltaFolders:
		rules.delta = "mailboxFolders"
	case DeltaItems:
		rules.delta = "mailboxItems"
	}
	c.query, err = parseQuery(c.r.URL.RawQuery, e, rules)
	return err
}

// base is the API's root as this client reaches it.
func (c *call) base() string {
	host := c.r.Host
	if host == "" {
		return c.s.origin + "/" + c.version
	}
	return c.s.scheme + host + "/" + c.version
}

func (c *call) context(fragment string) string { return c.base() + "/$metadata#" + fragment }

// mailboxPath is the mailbox's place below the base.
func (c *call) mailboxPath() string { return "admin/exchange/mailboxes/" + c.box.id }

// reply answers with JSON.
func (c *call) reply(status int, v any) error {
	writeJSON(c.w, status, v)
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("OData-Version", "4.0")
	w.Header().Set("Cache-Control", "private")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a client that has gone has no use for the rest
}

// object is a JSON object that keeps its order.
type object []field

type field struct {
	name  string
	value any
}

func (o *object) set(name string, v any) { *o = append(*o, field{name, v}) }

// MarshalJSON writes the fields in order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			b = append(b, ',')
		}
		k, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}'), nil
}

// requireJSON refuses a body that does not say it is JSON.
func (c *call) requireJSON() error {
	t, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || t != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "RequestBodyRead", "A supported MIME type could not be found that matches the content type of the request. Use application/json.")
	}
	return nil
}

// fields reads a small JSON object. Names come back as they were sent.
func (c *call) fields() (map[string]json.RawMessage, error) {
	if err := c.requireJSON(); err != nil {
		return nil, err
	}
	b, err := c.small()
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil || m == nil {
		return nil, badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	return m, nil
}

func (c *call) small() ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(c.r.Body, maxJSON+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if len(b) > maxJSON {
		return nil, refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is too large.")
	}
	return b, nil
}
