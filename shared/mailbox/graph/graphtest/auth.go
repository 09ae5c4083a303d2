package graphtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// App is an app registration with its application permissions.
type App struct {
	ID    string
	Roles []string
}

// AllRoles are the application permissions that together allow everything this server does.
func AllRoles() []string {
	return []string{"User.Read.All", "MailboxFolder.ReadWrite.All", "MailboxItem.Read.All", "MailboxItem.ReadWrite.All",
		"MailboxItem.ImportExport.All"}
}

// Claims are what an access token says. Zero fields are filled with what makes the token acceptable.
type Claims struct {
	Audience  string
	Tenant    string
	App       string
	Roles     []string
	NotBefore time.Time
	Expires   time.Time // zero is in an hour
}

type claims struct {
	Audience  string   `json:"aud"`
	Issuer    string   `json:"iss"`
	IssuedAt  int64    `json:"iat"`
	NotBefore int64    `json:"nbf"`
	Expires   int64    `json:"exp"`
	App       string   `json:"appid"`
	Type      string   `json:"idtyp"`
	Roles     []string `json:"roles,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Tenant    string   `json:"tid"`
	Version   string   `json:"ver"`

	// Of import sessions only.
	Session string `json:"jti,omitempty"`
	Mailbox string `json:"mbx,omitempty"`
}

const (
	graphAudience  = "https://graph.microsoft.com"
	graphAppID     = "00000003-0000-0000-c000-000000000000"
	importAudience = "https://outlook.office365.com/importItem"
	tokenLife      = time.Hour
)

// Token returns a bearer token of the first app registration, good for an hour of the server's clock.
func (s *Server) Token() string { return s.TokenFor(s.apps[0]) }

// TokenFor returns a bearer token of an app with its roles, good for an hour of the server's clock.
func (s *Server) TokenFor(a App) string { return s.SignToken(Claims{App: a.ID, Roles: a.Roles}) }

// SignToken returns a token of any content, to try expired, misdirected or powerless ones.
func (s *Server) SignToken(c Claims) string {
	now := s.clock.Now()
	full := claims{Audience: c.Audience, Tenant: c.Tenant, App: c.App, Roles: c.Roles, Type: "app", Version: "1.0",
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(tokenLife).Unix(), Subject: c.App}
	if full.Audience == "" {
		full.Audience = graphAudience
	}
	if full.Tenant == "" {
		full.Tenant = s.tenant
	}
	if !c.Expires.IsZero() {
		full.Expires = c.Expires.Unix()
	}
	if !c.NotBefore.IsZero() {
		full.NotBefore = c.NotBefore.Unix()
	}
	full.Issuer = "https://sts.windows.net/" + full.Tenant + "/"
	return s.sign(full)
}

func (s *Server) sign(c claims) string {
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	enc := base64.RawURLEncoding
	head := enc.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + enc.EncodeToString(b)
	return head + "." + enc.EncodeToString(s.mac(head))
}

func (s *Server) mac(text string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// verify checks a token's signature and returns its claims.
func (s *Server) verify(token string) (claims, bool) {
	var c claims
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return c, false
	}
	sig, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil || !hmac.Equal(sig, s.mac(token[:i])) {
		return c, false
	}
	_, payload, _ := strings.Cut(token[:i], ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return c, false
	}
	return c, json.Unmarshal(b, &c) == nil
}

// authenticate reads the bearer token of a request.
func (s *Server) authenticate(r *http.Request) (claims, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return claims{}, unauthenticated("Access token is empty.")
	}
	c, ok := s.verify(token)
	now := s.clock.Now().Unix()
	switch {
	case !ok && strings.Count(token, ".") != 2:
		return c, unauthenticated("IDX14100: JWT is not well formed, there are no dots (.).")
	case !ok:
		return c, unauthenticated("Access token validation failure. Invalid signature.")
	case c.Audience != graphAudience && c.Audience != graphAudience+"/" && c.Audience != graphAppID:
		return c, unauthenticated("Access token validation failure. Invalid audience.")
	case now >= c.Expires || now < c.NotBefore:
		return c, unauthenticated("Lifetime validation failed, the token is expired.")
	case c.Tenant != s.tenant:
		return c, unauthenticated("Access token validation failure. Invalid tenant.")
	}
	return c, nil
}

func unauthenticated(message string) *refusal {
	return refuse(http.StatusUnauthorized, "InvalidAuthenticationToken", "%s", message)
}

// permitted answers 403 unless the token carries one of the roles an operation takes.
func permitted(c claims, op Op) error {
	for _, role := range rolesOf(op) {
		if slices.Contains(c.Roles, role) {
			return nil
		}
	}
	if op == ReadSettings {
		return refuse(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	return refuse(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

// rolesOf lists the application permissions that allow an operation, the least first.
func rolesOf(op Op) []string {
	switch op {
	case ReadSettings:
		return []string{"User.Read.All", "User.ReadWrite.All"}
	case ReadMailbox, ListFolders, CountFolders, ReadFolder, DeltaFolders:
		return []string{"MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"}
	case CreateFolder, UpdateFolder, DeleteFolder:
		return []string{"MailboxFolder.ReadWrite.All"}
	case ListItems, CountItems, ReadItem, DeltaItems:
		return []string{"MailboxItem.Read.All"}
	case DeleteItem:
		return []string{"MailboxItem.ReadWrite.All"}
	case ExportItems:
		return []string{"MailboxItem.Export.All", "MailboxItem.ImportExport.All"}
	case CreateSession:
		return []string{"MailboxItem.ImportExport.All"}
	}
	return nil
}

// IdentityEndpoint returns what an app service puts into IDENTITY_ENDPOINT and IDENTITY_HEADER, so that a managed
// identity credential gets its tokens here: for the first app registration, or for the one named by client_id.
func (s *Server) IdentityEndpoint() (url, header string) {
	return s.origin + identityPath, s.identityHeader
}

const identityPath = "/msi/token"

type identityToken struct {
	AccessToken string `json:"access_token"`
	ExpiresOn   string `json:"expires_on"` // seconds since 1970, as text
	Resource    string `json:"resource"`
	TokenType   string `json:"token_type"`
	ClientID    string `json:"client_id"`
}

// identity answers as the App Service identity endpoint, version 2019-08-01.
func (s *Server) identity(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	app, found := s.app(q.Get("client_id"))
	switch {
	case r.Method != http.MethodGet:
		identityError(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
		return
	case r.Header.Get("X-IDENTITY-HEADER") != s.identityHeader:
		identityError(w, http.StatusUnauthorized, "Unauthorized")
		return
	case q.Get("api-version") != "2019-08-01":
		identityError(w, http.StatusBadRequest, "UnsupportedApiVersion")
		return
	case q.Get("resource") == "":
		identityError(w, http.StatusBadRequest, "MissingResource")
		return
	case !found:
		identityError(w, http.StatusBadRequest, "NoIdentityFound")
		return
	}
	expires := s.clock.Now().Add(tokenLife)
	writeJSON(w, http.StatusOK, identityToken{ClientID: app.ID, Resource: q.Get("resource"), TokenType: "Bearer",
		ExpiresOn:   strconv.FormatInt(expires.Unix(), 10),
		AccessToken: s.SignToken(Claims{Audience: q.Get("resource"), App: app.ID, Roles: app.Roles, Expires: expires})})
}

func (s *Server) app(id string) (App, bool) {
	for _, a := range s.apps {
		if id == "" || strings.EqualFold(a.ID, id) {
			return a, true
		}
	}
	return App{}, false
}

func identityError(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]any{"statusCode": status, "message": code, "correlationId": uuid.NewString()})
}
