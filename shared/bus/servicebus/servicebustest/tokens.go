package servicebustest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Token types of the token node.
const (
	sasToken = "servicebus.windows.net:sastoken"
	jwtToken = "jwt"
)

// putToken answers a request to the token node.
func (c *conn) putToken(m *wire.Message) (status int32, text string) {
	app := m.ApplicationProperties()
	name, _ := app.Find("name").(string)
	kind, _ := app.Find("type").(string)
	value, err := m.Value()
	token, ok := value.(string)
	switch {
	case app.Find("operation") != "put-token":
		return 400, "The operation is not put-token."
	case err != nil || !ok || name == "":
		return 400, "The token is not a string, or has no name."
	case kind != sasToken && kind != jwtToken:
		return 400, "The token type is not known."
	}
	until, err := c.s.checkToken(kind, token, name)
	if err != nil {
		return 401, "InvalidSignature: " + err.Error()
	}
	c.claims[strings.ToLower(entityPath(name))] = until
	return 202, "Accepted"
}

// checkToken returns until when a token holds. Signatures are checked only when the options say so; those of JSON
// web tokens never, since nobody here knows the keys.
func (s *Server) checkToken(kind, token, name string) (time.Time, error) {
	if !s.o.CheckTokens {
		return time.Time{}, nil
	}
	read := readJWT
	if kind == sasToken {
		read = func(token string) (time.Time, error) { return readSAS(token, name) }
	}
	until, err := read(token)
	if err == nil && !until.After(s.o.ConnClock.Now()) {
		err = errors.New("the token has expired")
	}
	return until, err
}

func readSAS(token, name string) (time.Time, error) {
	rest, ok := strings.CutPrefix(token, "SharedAccessSignature ")
	if !ok {
		return time.Time{}, errors.New("not a shared access signature")
	}
	fields := map[string]string{}
	for _, f := range strings.Split(rest, "&") {
		k, v, _ := strings.Cut(f, "=")
		fields[k] = v
	}
	mac := hmac.New(sha256.New, []byte(sharedKey))
	mac.Write([]byte(fields["sr"] + "\n" + fields["se"]))
	sig, err := url.QueryUnescape(fields["sig"])
	if err != nil || subtle.ConstantTimeCompare([]byte(sig), []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))) != 1 || fields["skn"] != keyName {
		return time.Time{}, errors.New("the signature does not match")
	}
	resource, err := url.QueryUnescape(fields["sr"])
	if err != nil || !covers(strings.ToLower(entityPath(resource)), strings.ToLower(entityPath(name))) {
		return time.Time{}, errors.New("the signature is for another resource")
	}
	seconds, err := strconv.ParseInt(fields["se"], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read expiry: %w", err)
	}
	return time.Unix(seconds, 0), nil
}

func readJWT(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("not a JSON web token")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, errors.New("the claims are not base64url")
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		return time.Time{}, errors.New("the claims are not JSON")
	}
	return time.Unix(int64(claims.Exp), 0), nil
}

// covers tells whether a token for one path is good for another, below it.
func covers(token, path string) bool {
	return token == "" || token == path || strings.HasPrefix(path, token+"/")
}

// allowed tells whether the connection has shown a token for a path.
func (c *conn) allowed(path string) bool {
	if !c.s.o.CheckTokens {
		return true
	}
	now := c.s.o.ConnClock.Now()
	for token, until := range c.claims {
		if covers(token, path) && until.After(now) {
			return true
		}
	}
	return false
}
