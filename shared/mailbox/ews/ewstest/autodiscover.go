package ewstest

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
)

const (
	nsAutodiscover = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
	nsOutlook      = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
)

// autodiscover answers the plain-XML form: where the EWS of an address is.
func (s *Server) autodiscover(w http.ResponseWriter, r *http.Request, a *account) {
	address := a.mailbox
	if r.Method == http.MethodPost {
		root, err := decodeXML(io.LimitReader(r.Body, 1<<20))
		if err != nil || root.path("Request", "EMailAddress") == nil {
			s.autodiscoverError(w, 600, "Invalid Request")
			return
		}
		address = root.path("Request", "EMailAddress").value()
	}
	m := s.mailbox(address)
	if m == nil {
		s.autodiscoverError(w, 500, "The email address can't be found.")
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	o := newWriter(w, func() {})
	o.raw(`<?xml version="1.0" encoding="utf-8"?>`)
	o.open("Autodiscover", "xmlns", nsAutodiscover)
	o.open("Response", "xmlns", nsOutlook)
	o.open("User")
	o.text("DisplayName", displayName(m.Address))
	o.text("AutoDiscoverSMTPAddress", m.Address)
	o.close("User")
	o.open("Account")
	o.text("AccountType", "email")
	o.text("Action", "settings")
	for _, kind := range []string{"EXCH", "EXPR"} {
		o.open("Protocol")
		o.text("Type", kind)
		o.text("ASUrl", s.URL())
		o.text("EwsUrl", s.URL())
		o.close("Protocol")
	}
	o.raw("</Account></Response></Autodiscover>")
	_ = o.b.Flush()
}

func (s *Server) autodiscoverError(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="%s"><Response><Error Time="%s" Id="1"><ErrorCode>%d</ErrorCode><Message>%s</Message><DebugData/></Error></Response></Autodiscover>`,
		nsAutodiscover, s.o.Clock.Now().UTC().Format("15:04:05.0000000"), code, text)
}

// wsdl names the operations; it is not Microsoft's file and has no types.
func (s *Server) wsdl(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	names := make([]string, 0, len(s.operations))
	for n := range s.operations {
		names = append(names, n)
	}
	sort.Strings(names)
	o := newWriter(w, func() {})
	o.raw(`<?xml version="1.0" encoding="utf-8"?>`)
	o.open("wsdl:definitions", "xmlns:wsdl", "http://schemas.xmlsoap.org/wsdl/", "targetNamespace", nsMessages)
	o.open("wsdl:portType", "name", "ExchangeServicePortType")
	for _, n := range names {
		o.empty("wsdl:operation", "name", n)
	}
	o.raw("</wsdl:portType></wsdl:definitions>")
	_ = o.b.Flush()
}

// displayName makes a name from an address: "anna.berg@corp.test" is "Anna Berg".
func displayName(address string) string {
	local, _, _ := strings.Cut(address, "@")
	words := strings.FieldsFunc(local, func(r rune) bool { return r == '.' || r == '_' || r == '-' })
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, " ")
}
