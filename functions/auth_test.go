package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
)

// signed is the header that App Service authentication makes of a token with these roles.
func signed(roles ...string) string {
	claims := []map[string]string{{"typ": "name", "val": "Olivia Operator"}, {"typ": "preferred_username", "val": "olivia@new.example"}}
	for _, r := range roles {
		claims = append(claims, map[string]string{"typ": "roles", "val": r})
	}
	b, _ := json.Marshal(map[string]any{"auth_typ": "aad", "claims": claims, "name_typ": "name",
		"role_typ": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})
	return base64.StdEncoding.EncodeToString(b)
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestEntraSignInAsksForTheRole(t *testing.T) {
	t.Parallel()
	const reading, steering = "GET /api/about", "POST /api/waves/w1/pause"
	renamed := encoded(`{"auth_typ":"aad","claims":[{"typ":"http://schemas.microsoft.com/ws/2008/06/identity/claims/role","val":"operator"}]}`)
	tests := []struct {
		name, request string
		headers       []string
		want          int
	}{
		{"operator reads", reading, []string{signed("operator")}, 200},
		{"reader reads", reading, []string{signed("reader")}, 200},
		{"operator steers", steering, []string{signed("operator")}, 404}, // there is no such wave
		{"role under its long name", steering, []string{renamed}, 404},
		{"reader steers", steering, []string{signed("reader")}, 403},
		{"reader submits", "POST /api/batches", []string{signed("reader")}, 403},
		{"other role", reading, []string{signed("Operator", "operators", "admin")}, 403},
		{"no role", reading, []string{signed()}, 403},
		{"role in another claim", steering, []string{encoded(`{"auth_typ":"aad","claims":[{"typ":"name","val":"operator"}]}`)}, 403},
		{"no header", reading, nil, 401},
		{"empty header", reading, []string{""}, 401},
		{"two headers", reading, []string{signed("operator"), signed("operator")}, 401},
		{"no base64", reading, []string{"operator"}, 401},
		{"no JSON", reading, []string{encoded("operator")}, 401},
		{"JSON with more behind it", reading, []string{encoded(`{"auth_typ":"aad","claims":[{"typ":"roles","val":"operator"}]}{}`)}, 401},
		{"claims of another shape", reading, []string{encoded(`{"auth_typ":"aad","claims":{"roles":"operator"}}`)}, 401},
		{"null", reading, []string{encoded(`null`)}, 401},
		{"other provider", reading, []string{encoded(`{"auth_typ":"github","claims":[{"typ":"roles","val":"operator"}]}`)}, 401},
		{"too long", reading, []string{encoded(`{"auth_typ":"aad","claims":[{"typ":"roles","val":"operator"}]` + strings.Repeat(" ", maxPrincipal) + `}`)}, 401},
	}
	a := newApp(t, true, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.request, " ")
			var h []string
			for _, v := range tt.headers {
				h = append(h, principalHeader, v)
			}
			a.clock.Advance(5e9) // no rate limit here
			w := a.call(t, method, path, "text/csv", "", h...)
			if w.Code != tt.want {
				t.Errorf("answers %d, want %d: %s", w.Code, tt.want, w.Body)
			}
			if strings.Contains(w.Body.String()+a.log.String(), "livia") {
				t.Error("the caller is named in the answer or the log")
			}
			if w.Code >= 400 && !strings.Contains(w.Body.String(), `"error"`) {
				t.Errorf("no error in the answer: %s", w.Body)
			}
		})
	}
}

// Every HTTP function there is asks, whichever way the host passes requests on.
func TestEveryHTTPFunctionAsksForSignIn(t *testing.T) {
	t.Parallel()
	a := newApp(t, true, nil)
	found := 0
	folders, err := fs.Glob(os.DirFS("."), "*/function.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var def struct {
			Bindings []struct {
				Type, Route string
				Methods     []string
			}
		}
		if err := json.Unmarshal(b, &def); err != nil {
			t.Fatal(err)
		}
		if def.Bindings[0].Type != "httpTrigger" {
			continue
		}
		found++
		method, path := strings.ToUpper(def.Bindings[0].Methods[0]), "/api/"+strings.NewReplacer("{", "", "}", "").Replace(def.Bindings[0].Route)
		a.clock.Advance(5e9)
		if w := a.call(t, method, path, "text/csv", ""); w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s answers %d, want 401", method, path, w.Code)
		}
		env := fmt.Sprintf(`{"Data":{"req":{"Url":"https://x%s","Method":%q,"Headers":{},"Params":{}}},"Metadata":{}}`, path, method)
		w := a.call(t, http.MethodPost, "/"+strings.TrimSuffix(f, "/function.json"), "application/json", env)
		if !strings.Contains(w.Body.String(), `"statusCode":401`) {
			t.Errorf("%s in an envelope answers %s, want 401", f, w.Body)
		}
	}
	if found < 5 {
		t.Errorf("found %d HTTP functions", found)
	}
}

func TestFunctionKeysAreTheHostsBusiness(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	if w := a.call(t, http.MethodGet, "/api/about", "", ""); w.Code != http.StatusOK {
		t.Errorf("answers %d", w.Code)
	}
}

func FuzzPrincipal(f *testing.F) {
	f.Add(signed("operator"))
	f.Add(encoded(`{"auth_typ":"aad","claims":null}`))
	f.Add("eyJhdXRoX3R5cCI6")
	f.Fuzz(func(t *testing.T, header string) {
		p, err := readPrincipal(http.Header{http.CanonicalHeaderKey(principalHeader): {header}})
		if err != nil && p.has(roleOperator) && p.Provider == "aad" {
			t.Error("refused, but with a role")
		}
		if err != nil && len(header) > 80 && strings.Contains(err.Error(), header) {
			t.Error("the error quotes the header")
		}
	})
}
