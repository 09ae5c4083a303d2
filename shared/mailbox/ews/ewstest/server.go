package ewstest

import (
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// Options say what kind of Exchange to be. The zero Options are an Exchange 2016 with its default policy.
type Options struct {
	Clock clockwork.Clock // nil is the real clock
	Log   *slog.Logger    // nil logs nothing; lines never hold content, addresses or ids
	Auth  []Scheme        // in the order they are offered; nil is Negotiate, NTLM
	TLS   bool            // HTTPS with httptest's certificate
	// Domain is the NetBIOS domain that NTLM announces, "CORP" when empty.
	Domain string
	Build  fts.Version // zero is 15.1.2507.6

	MaxConcurrency int   // EWSMaxConcurrency, requests at a time of one account; 0 is 27
	FindCountLimit int   // EWSFindCountLimit, rows at a time of one account; 0 is 1000
	MaxRequest     int64 // bytes of one request; 0 is 64 MiB as in web.config
	MaxUpload      int64 // bytes of base64 of one uploaded item; 0 is no limit, 25 MB was that of 2010 SP1
	Burst          *Burst
	// ShortPages, when not 0, makes FindItem return pages that are shorter than asked for, at random from this seed.
	ShortPages int64
}

// Server is a running endpoint. It is safe for concurrent use.
type Server struct {
	o          Options
	http       *httptest.Server
	schema     schema
	operations map[string]operation
	short      *shortPages
	fields     []field
	byURI      map[string]*field
	sorted     sortedFolders

	mu        sync.Mutex
	accounts  []*account
	mailboxes map[string]*exchangetest.Mailbox // by lower-case address
	aliases   map[string]*exchangetest.Mailbox
	guids     map[uuid.UUID]*exchangetest.Mailbox
	counts    map[string]int
	faults    faults
}

// New starts a server and closes it when the test is over.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s := Start(o)
	t.Cleanup(s.Close)
	return s
}

// Start starts a server on 127.0.0.1. The caller closes it.
func Start(o Options) *Server {
	s := &Server{
		o: o.filled(), schema: parseGrammar(grammar), operations: operations(), short: newShortPages(o.ShortPages),
		mailboxes: map[string]*exchangetest.Mailbox{}, aliases: map[string]*exchangetest.Mailbox{},
		guids: map[uuid.UUID]*exchangetest.Mailbox{}, counts: map[string]int{}, faults: newFaults(),
	}
	s.fields = append(itemFields(), kindFields()...)
	s.byURI = map[string]*field{}
	for i := range s.fields {
		if f := &s.fields[i]; s.byURI[f.uri] == nil || s.byURI[f.uri].value == nil {
			s.byURI[f.uri] = f
		}
	}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ConnContext = withHandshake
	s.http.Config.ErrorLog = slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)
	if o.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	return s
}

func (o Options) filled() Options {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Auth == nil {
		o.Auth = []Scheme{Negotiate, NTLM}
	}
	if o.Domain == "" {
		o.Domain = "CORP"
	}
	if o.Build == (fts.Version{}) {
		o.Build = fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}
	}
	o.MaxConcurrency = orElse(o.MaxConcurrency, 27)
	o.FindCountLimit = orElse(o.FindCountLimit, 1000)
	if o.MaxRequest == 0 {
		o.MaxRequest = 64 << 20
	}
	return o
}

func orElse(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}

// operations are all that the server understands.
func operations() map[string]operation {
	return map[string]operation{
		"GetFolder": (*call).getFolder, "FindFolder": (*call).findFolder, "CreateFolder": (*call).createFolder, "DeleteFolder": (*call).deleteFolder,
		"UpdateFolder": (*call).updateFolder, "MoveFolder": (*call).moveFolder, "CopyFolder": (*call).moveFolder, "EmptyFolder": (*call).emptyFolder,
		"SyncFolderHierarchy": (*call).syncHierarchy, "SyncFolderItems": (*call).syncItems, "FindItem": (*call).findItem, "GetItem": (*call).getItem,
		"GetAttachment": (*call).getAttachment, "CreateAttachment": (*call).createAttachment, "DeleteAttachment": (*call).deleteAttachment,
		"ExportItems": (*call).exportItems, "UploadItems": (*call).uploadItems,
		"MoveItem": (*call).moveItem, "CopyItem": (*call).moveItem, "DeleteItem": (*call).deleteItem, "UpdateItem": (*call).updateItem,
		"CreateItem": (*call).createItem, "ResolveNames": (*call).resolveNames, "GetServerTimeZones": (*call).serverTimeZones,
		"GetUserConfiguration": (*call).userConfiguration, "GetDelegate": (*call).delegate, "ConvertId": (*call).convertID,
	}
}

// Close stops the server and cuts what is still open.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// URL is the endpoint's address.
func (s *Server) URL() string { return s.http.URL + "/EWS/Exchange.asmx" }

// Client trusts the server's certificate; it does not log on.
func (s *Server) Client() *http.Client { return s.http.Client() }

// AddMailbox puts a mailbox behind the endpoint.
func (s *Server) AddMailbox(m *exchangetest.Mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mailboxes[strings.ToLower(m.Address)] = m
	s.guids[m.GUID] = m
}

// AddAlias gives a mailbox another address, which is not its primary one.
func (s *Server) AddAlias(address string, m *exchangetest.Mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[strings.ToLower(address)] = m
}

// AddAccount lets someone log on, as user, DOMAIN\user or, when it owns a mailbox, by that address. An account
// without rights can log on and reach nothing.
func (s *Server) AddAccount(user, password, domain string, rights ...Right) {
	a := &account{user: user, password: password, domain: domain}
	for _, r := range rights {
		r(a)
	}
	a.budget.start(s.o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = append(s.accounts, a)
}

func (s *Server) account(user, domain string) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.accounts {
		if domain == "" && a.mailbox != "" && strings.EqualFold(user, a.mailbox) {
			return a
		}
		if strings.EqualFold(user, a.user) && a.inDomain(domain) {
			return a
		}
		if local, upn, ok := strings.Cut(user, "@"); ok && domain == "" && strings.EqualFold(local, a.user) && a.domain != "" && a.inDomain(upn) {
			return a
		}
	}
	return nil
}

// inDomain takes the NetBIOS name, a DNS name that begins with it, and none.
func (a *account) inDomain(domain string) bool {
	first, _, _ := strings.Cut(domain, ".")
	return domain == "" || a.domain == "" || strings.EqualFold(first, a.domain)
}

func (s *Server) mailbox(address string) *exchangetest.Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mailboxes[strings.ToLower(address)]
}

func (s *Server) alias(address string) *exchangetest.Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aliases[strings.ToLower(address)]
}

func (s *Server) byGUID(id uuid.UUID) *exchangetest.Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guids[id]
}

// SID is the security identifier of a mailbox's user.
func SID(m *exchangetest.Mailbox) string {
	h := fnv.New32a()
	_, _ = h.Write(m.GUID[:])
	return fmt.Sprintf("S-1-5-21-1004336348-1177238915-682003330-%d", h.Sum32()%1_000_000+1000)
}

func (s *Server) bySID(sid string) *exchangetest.Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mailboxes {
		if SID(m) == sid {
			return m
		}
	}
	return nil
}

func (s *Server) count(operation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[operation]++
}

// Requests says how often an operation was asked for, refused or not.
func (s *Server) Requests(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[operation]
}

// ServeHTTP answers one HTTP request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "Microsoft-IIS/10.0")
	w.Header().Set("X-Powered-By", "ASP.NET")
	w.Header().Set("Request-Id", uuid.NewString())
	if s.faults.takeUnavailable() {
		s.faults.strikes(IsUnavailable)
		unavailable(w, r)
		return
	}
	path := strings.ToLower(r.URL.Path)
	switch path {
	case "/ews/exchange.asmx", "/ews/services.wsdl", "/autodiscover/autodiscover.xml":
	default:
		http.NotFound(w, r)
		return
	}
	a := s.authenticate(w, r)
	if a == nil {
		return
	}
	s.serve(w, r, a, path)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, a *account, path string) {
	switch {
	case path == "/autodiscover/autodiscover.xml":
		s.autodiscover(w, r, a)
	case path == "/ews/services.wsdl":
		s.wsdl(w)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		http.Redirect(w, r, "/EWS/Services.wsdl", http.StatusFound)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml"):
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 128<<20))
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case r.ContentLength > s.o.MaxRequest: // IIS request filtering: 404.13
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNotFound)
	default:
		s.soap(w, r, a)
	}
}

func unavailable(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 128<<20))
	w.Header().Set("Content-Type", "text/html; charset=us-ascii")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, "<HTML><HEAD><TITLE>Service Unavailable</TITLE></HEAD><BODY><h2>Service Unavailable</h2><hr><p>HTTP Error 503. The service is unavailable.</p></BODY></HTML>")
}
