module github.com/mailferry/mailferry/scripts/corpus

go 1.26

require github.com/ProtonMail/gluon v0.17.1-0.20230724134000-308be39be96e

require (
	github.com/sirupsen/logrus v1.9.0 // indirect
	golang.org/x/sys v0.5.0 // indirect
)
