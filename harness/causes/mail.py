"""Causes at mail: ports, certificates, log-in, what clients are told, and METADATA."""

from __future__ import annotations

from .cause import Cause, Weight
from .checks import CALLS, DISCOVERY, EVERYTHING, REALTIME, RELAY, TURN

__all__ = ["CAUSES"]

RENEW = "Let `certbot renew` (or acmetool, or the server's own ACME) run, see why it does not, and reload the server."
METADATA_OF_CHATMAIL = (
    "`systemctl status chatmail-metadata`: dovecot gets the values from it (`imap_metadata = yes`)."
)

CAUSES = (
    Cause(
        "mail.port_closed",
        "Nothing listens at a port that mail needs.",
        "The address answers, and refuses the connection; other ports of it may work.",
        "Phones cannot fetch (993) or cannot send (465, 587) mail.",
        {
            "madmail": "`systemctl status madmail` and its log; `imap tls://0.0.0.0:993`, `submission "
            "tls://0.0.0.0:465 tcp://0.0.0.0:587` must be in its configuration.",
            "chatmail relay": "`systemctl status dovecot postfix nginx`; then `cmdeploy run` again.",
            "anywhere": "Start the mail server, and see whether it listens at the public address: `ss -lntp`.",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.port_filtered",
        "A firewall swallows connections to a port that mail needs.",
        "Nothing comes back from the port, not even a refusal, while another port of the same address answers.",
        "Phones wait for half a minute at each connection, and cannot fetch or send mail.",
        {
            "firewall": "nft add rule inet filter input tcp dport { 993, 465, 587, 443 } accept, and the same in "
            "the firewall of the provider. For a container, publish the ports (`-p 993:993`).",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.certificate_expired",
        "The certificate of the mail server has expired.",
        "It was read from the port; its last day is before today, by our clock and by the server's.",
        "Delta Chat refuses to connect: no mail, and with it no calls and no realtime data.",
        {
            "madmail": RENEW,
            "chatmail relay": "`systemctl status acmetool-reconcile.timer`. " + RENEW,
            "anywhere": RENEW,
        },
        EVERYTHING,
    ),
    Cause(
        "mail.certificate_wrong_name",
        "The certificate of the mail server is for another name.",
        "It was read from the port: the names in it do not include the one that clients connect to.",
        "Delta Chat refuses to connect.",
        {
            "madmail": "`tls file CERT KEY` must name a certificate for the host name that people use, or set "
            "`hostname` to the name in the certificate.",
            "anywhere": "Get a certificate that has the name of the server among its names (SAN).",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.certificate_untrusted",
        "The certificate of the mail server is vouched for by nobody that clients know.",
        "It was read from the port: it is signed by itself, by a private CA, or an intermediate certificate is "
        "missing.",
        "Delta Chat refuses to connect, unless each user allows invalid certificates by hand.",
        {
            "madmail": "`tls_mode autocert` with `acme_email` for a name, in place of `self_signed`. On a bare IP "
            "address self-signed is what it has: then people join by a link or QR code that allows it.",
            "chatmail relay": "`acmetool status`: the certificate must come from a public CA, as `fullchain`.",
            "anywhere": "Serve a certificate of a public CA with its whole chain (fullchain.pem, not cert.pem).",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.refuses_sessions",
        "IMAP turns every client away before the log-in.",
        "TLS works, and the greeting is `* BYE`, or none comes, or the connection is closed at once.",
        "Nobody fetches mail.",
        {
            "madmail": "Look into its log for limits of connections, and whether its database can be opened.",
            "chatmail relay": "`journalctl -u dovecot`: limits (`mail_max_userip_connections`, `process_limit`), "
            "full disk, or a service that dovecot waits for.",
            "anywhere": "The greeting says why; look into the log of the IMAP server at that moment.",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.smtp_refuses_sessions",
        "SMTP turns every client away before the log-in.",
        "TLS works, and the greeting is 554 or 421, or none comes.",
        "Nobody sends mail, and with it no call rings.",
        {
            "madmail": "Look into its log for limits of connections.",
            "chatmail relay": "`journalctl -u postfix@-`: postscreen, limits of clients, or a block list.",
            "anywhere": "The greeting says why; look into the log of the SMTP server at that moment.",
        },
        ("mail.*", "durability.*", *CALLS, *REALTIME),
    ),
    Cause(
        "mail.registration_closed",
        "The server makes no account at the first log-in.",
        "The greeting is right, and the log-in with a new address and a good password is refused.",
        "New users cannot join; those who have an account notice nothing.",
        {
            "madmail": "`auto_create yes` in `auth.pass_table`, and open registration (`madmail registration "
            "open`), if that is wanted. Otherwise give doctor an account: --account USER:PW.",
            "chatmail relay": "Is there a file /etc/chatmail-nocreate? Look at username and password lengths in "
            "chatmail.ini.",
            "anywhere": "If that is wanted, give an account with --account USER:PW, or try --accounts new.",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.log_in_fails",
        "The server lets nobody log in, and says that this is its own fault.",
        "The greeting is right, and the log-in with a new address and a good password is answered with BAD, BYE, or "
        "NO with a code that is about the server: UNAVAILABLE, SERVERBUG, CONTACTADMIN, PRIVACYREQUIRED.",
        "Nobody fetches mail, neither new users nor those who have an account.",
        {
            "chatmail relay": "`systemctl status doveauth dovecot`, and `journalctl -u doveauth`: dovecot asks it for "
            "each log-in. Look for a full disk (`df`, `df -i`) as well.",
            "madmail": "Look into its log at that moment: its database of accounts (`auth.pass_table`) cannot be "
            "opened, or is locked.",
            "anywhere": "Look into the log of the IMAP server and of what it asks about passwords. With "
            "PRIVACYREQUIRED it does not know that the port has TLS, as behind a proxy that ends TLS.",
        },
        EVERYTHING,
    ),
    Cause(
        "mail.idle_is_silent",
        "A client that waits is not told of new mail.",
        "A mail to oneself was answered with 250, and lies in the mailbox; no EXISTS came during IDLE.",
        "Messages arrive minutes late, and calls do not ring in time.",
        {
            "chatmail relay": "dovecot must have `imap_capability` with IDLE and inotify: look at "
            "`fs.inotify.max_user_instances` (sysctl) and at the log for `inotify`.",
            "madmail": "Report it with madmail's log: it has no setting for this.",
            "anywhere": "The IMAP server must send EXISTS to a client in IDLE at once (RFC 2177). A proxy in "
            "front must not hold back data.",
        },
        ("mail.idle_reports_new_mail", "calls.calls_ring_and_end"),
    ),
    Cause(
        "mail.accepts_unencrypted",
        "The server takes mail that everybody on the way can read.",
        "A plain text mail from one new account to another was answered with 250.",
        "What users send by accident in the clear is delivered; a chatmail server promises that it is not.",
        {
            "chatmail relay": "`systemctl status filtermail`, and `smtpd_proxy_filter` in postfix's master.cf.",
            "madmail": "Its gate has no setting; update it, and report it with the version.",
            "anywhere": "Refuse what is not PGP/MIME with `523 Encryption Needed` at the end of DATA.",
        },
        ("mail.unencrypted_mail_is_refused",),
    ),
    # METADATA
    Cause(
        "metadata.not_advertised",
        "The server does not advertise METADATA, so clients never ask.",
        "CAPABILITY after the log-in lacks the word METADATA (METADATA-SERVER alone does not count), whatever "
        "GETMETADATA answers.",
        "Clients use public TURN servers and iroh relays of others, as if this server had none.",
        {
            "chatmail relay": "`imap_metadata = yes` in `protocol imap { }` of dovecot, and METADATA in "
            "`imap_capability` if that is set.",
            "madmail": "Update it: 2.x advertises METADATA after the log-in.",
            "anywhere": "Add METADATA to CAPABILITY after the log-in (RFC 5464).",
        },
        (*DISCOVERY, *TURN, *RELAY, *CALLS, *REALTIME, "names.*"),
    ),
    Cause(
        "metadata.unreadable",
        "The server advertises METADATA, and does not give it.",
        "GETMETADATA is refused, answered with something that is no METADATA, or not answered.",
        "Clients use public TURN servers and iroh relays of others, as if this server had none.",
        {
            "chatmail relay": METADATA_OF_CHATMAIL,
            "anywhere": "GETMETADATA with a list of keys must be answered as RFC 5464 has it.",
        },
        (*DISCOVERY, *TURN, *RELAY, *CALLS, *REALTIME, "names.*"),
    ),
    Cause(
        "metadata.turn_missing",
        "The server offers no TURN.",
        "METADATA can be read, and /shared/vendor/deltachat/turn has no value.",
        "Calls that need a relay go over a public server of somebody else.",
        {
            "madmail": "`turn_enable yes`, `turn_server HOST` and `turn_secret SECRET` in `imap { }`, and a `turn "
            "{ }` block.",
            "chatmail relay": "`systemctl status turnserver`: the value is there while it runs. "
            + METADATA_OF_CHATMAIL,
        },
        ("turn.turn_is_offered", *TURN, *CALLS, "names.*"),
        Weight.NOTE,
    ),
    Cause(
        "metadata.turn_unusable",
        "METADATA offers a TURN server in a form that clients cannot use.",
        "The value was read; it is not HOST:PORT:EXPIRY:PASSWORD, or its password is none that a secret makes, and is "
        "refused.",
        "Clients take public servers of somebody else instead.",
        {
            "madmail": "`turn_server` is a host name or an IPv4 address alone: no scheme, no port, no brackets.",
            "anywhere": "The value of /shared/vendor/deltachat/turn must be HOST:PORT:EXPIRY:PASSWORD; HOST has "
            "no colon, EXPIRY is in unix seconds, PASSWORD is base64(HMAC-SHA1(secret, EXPIRY)) with nothing before or "
            "behind it.",
        },
        ("turn.turn_is_offered", *TURN, *CALLS, "names.*"),
    ),
    Cause(
        "metadata.relay_missing",
        "The server offers no iroh relay.",
        "METADATA can be read, and /shared/vendor/deltachat/irohrelay has no value.",
        "Realtime data of apps goes over public relays of somebody else.",
        {
            "madmail": "`iroh_relay_url http://HOST:3340` in `imap { }`.",
            "chatmail relay": "Set `iroh_relay` in chatmail.ini (or leave it out: then it runs its own), and "
            "`cmdeploy run`.",
        },
        ("discovery.metadata_offers_a_relay", *RELAY, *REALTIME),
        Weight.NOTE,
    ),
    Cause(
        "metadata.relay_unusable",
        "METADATA offers an iroh relay in a form that clients cannot read.",
        "The value was read; it is no http or https URL with a host.",
        "Clients take public relays of somebody else instead.",
        {
            "madmail": "`iroh_relay_url` must be a whole URL, as in `http://mail.example.org:3340`.",
            "anywhere": "The value of /shared/vendor/deltachat/irohrelay must be http://HOST[:PORT] or "
            "https://HOST[:PORT].",
        },
        ("discovery.metadata_offers_a_relay", *RELAY, *REALTIME),
    ),
)
