package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
)

// The app roles of Entra sign-in. An operator may do everything a reader may.
const (
	roleReader   = "reader"
	roleOperator = "operator"
)

// principalHeader is where App Service authentication ("Easy Auth") says who the caller is.
const principalHeader = "X-MS-CLIENT-PRINCIPAL"

// maxPrincipal is far above what a token with the most groups it may name makes.
const maxPrincipal = 64 << 10

// principal is who App Service authentication says the caller is: the claims of a token that it has checked.
type principal struct {
	Provider string `json:"auth_typ"`
	Claims   []struct {
		Type  string `json:"typ"`
		Value string `json:"val"`
	} `json:"claims"`
}

// readPrincipal reads the header. Its content is never part of the error: it names the caller.
//
// The platform takes this header off requests from outside and writes it anew, but only while App Service
// authentication is on. Where that is off, anybody can write the header: Entra sign-in must be chosen here (HTTP_AUTH)
// only together with it. infra does both by one parameter, and the functions' own key is needed in addition.
func readPrincipal(h http.Header) (principal, error) {
	var p principal
	values := h.Values(principalHeader)
	if len(values) != 1 {
		return p, errors.New("want one " + principalHeader)
	}
	if len(values[0]) > maxPrincipal {
		return p, errors.New(principalHeader + " is too long")
	}
	body, err := base64.StdEncoding.DecodeString(values[0])
	if err != nil {
		return p, errors.New(principalHeader + " is not base64")
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, errors.New(principalHeader + " is not the JSON of a principal")
	}
	if p.Provider != "aad" {
		return p, errors.New(principalHeader + " is not from Entra ID")
	}
	return p, nil
}

// has says whether the principal has an app role. The claim has a short name in tokens, and a long one where the
// platform renames claims.
func (p principal) has(role string) bool {
	for _, c := range p.Claims {
		if (c.Type == "roles" || c.Type == "http://schemas.microsoft.com/ws/2008/06/identity/claims/role") && c.Value == role {
			return true
		}
	}
	return false
}

// signedIn answers 401 and 403 itself and says whether the request may go on. With function keys the host has checked.
func (g *gate) signedIn(w http.ResponseWriter, r *http.Request, role string) bool {
	if !g.entra {
		return true
	}
	p, err := readPrincipal(r.Header)
	if err != nil {
		g.log.Warn("refused", "status", http.StatusUnauthorized, "reason", err.Error())
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, failure{Error: "sign in first: send an Entra ID token for this app as Authorization: Bearer …"})
		return false
	}
	if p.has(roleOperator) || role == roleReader && p.has(roleReader) {
		return true
	}
	g.log.Warn("refused", "status", http.StatusForbidden, "reason", "no app role "+role)
	answer(w, http.StatusForbidden, failure{Error: "you are signed in without the app role " + role + "; ask who runs Mailferry to assign it to you"})
	return false
}
