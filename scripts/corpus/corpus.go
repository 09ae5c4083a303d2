//go:build corpus

// Package corpus pins a module whose test data is real mail. It is a module of its own, so that nothing of it, nor of
// what it depends on, is part of Mailferry; only the files in its tests/testdata are read.
package corpus

import _ "github.com/ProtonMail/gluon/rfc822"
