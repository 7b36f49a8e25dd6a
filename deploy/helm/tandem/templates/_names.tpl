{{- define "tandem.services" -}}
order:
  package: order_service
  port: 3232
  profile: orders
  taskQueue: order-processing
  group: order-service
  reads: fulfillments.events.v1
  paths: [/orders, /stock, /commands, /exceptions]
fulfillment:
  package: fulfillment_service
  port: 3233
  profile: fulfillments
  taskQueue: fulfillment-processing
  group: fulfillment-service
  reads: orders.events.v1
  paths: [/fulfillments, /standing-holds, /commands, /exceptions]
{{- end }}

{{- define "tandem.fullname" -}}
{{- if contains "tandem" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-tandem" (.Release.Name | trunc 33 | trimSuffix "-") }}
{{- end -}}
{{- end }}

{{- /* Below, a context is (dict "root" $ "service" "order" "role" "worker"). */}}

{{- define "tandem.process" -}}
{{ include "tandem.fullname" .root }}-{{ .service }}-{{ .role }}
{{- end }}

{{- define "tandem.selector" -}}
app.kubernetes.io/name: tandem
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}-{{ .role }}
{{- end }}

{{- define "tandem.labels" -}}
app.kubernetes.io/name: tandem
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tandem.processLabels" -}}
{{ include "tandem.labels" .root }}
app.kubernetes.io/component: {{ .service }}-{{ .role }}
{{- end }}

{{- define "tandem.image" -}}
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "tandem.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "tandem.fullname" .) }}
{{- end }}

{{- /* What the values say of a process: its role's, and the service's own word on top. */}}
{{- define "tandem.knobs" -}}
{{- $general := index .root.Values.roles .role -}}
{{- $special := index .root.Values.services .service "roles" .role | default dict -}}
{{ mergeOverwrite (deepCopy $general) (deepCopy $special) | toYaml }}
{{- end }}

{{- define "tandem.secretName" -}}
{{ index .root.Values.secrets.names (printf "%s-%s" .service .role) | default (include "tandem.process" .) }}
{{- end }}

{{- define "tandem.providerUrl" -}}
{{- if .root.Values.sandbox.enabled -}}
http://{{ include "tandem.fullname" .root }}-sandbox:3234/{{ .path }}
{{- else -}}
{{ required (printf "providers.%s is required unless sandbox.enabled (a simulation)" .value) (index .root.Values.providers .value) }}
{{- end -}}
{{- end }}

{{- /* All that is no secret and the same for each role of a service. */}}
{{- define "tandem.environment" -}}
{{- $values := .root.Values -}}
TANDEM_API_HOST: 0.0.0.0
TANDEM_HEALTH_HOST: 0.0.0.0
TANDEM_HEALTH_STOP_SECONDS: {{ $values.stopSeconds | quote }}
TANDEM_SECRETS_DIR: /run/secrets/tandem
TANDEM_KAFKA_SERVERS: {{ required "kafka.servers is required: host:port, several separated by commas" $values.kafka.servers | quote }}
TANDEM_KAFKA_SECURITY_PROTOCOL: {{ $values.kafka.securityProtocol }}
TANDEM_KAFKA_SASL_MECHANISM: {{ $values.kafka.saslMechanism }}
TANDEM_KAFKA_REPLICATION: {{ $values.kafka.replication | quote }}
{{- if eq .service "order" }}
TANDEM_PAYMENTS_URL: {{ include "tandem.providerUrl" (dict "root" .root "path" "payments" "value" "paymentsUrl") | quote }}
{{- else }}
TANDEM_CARRIER_URL: {{ include "tandem.providerUrl" (dict "root" .root "path" "carrier" "value" "carrierUrl") | quote }}
{{- end }}
TANDEM_TELEMETRY_EXPORTER: {{ $values.telemetry.exporter }}
{{- if eq $values.telemetry.exporter "otlp" }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ required "telemetry.endpoint is required with exporter otlp" $values.telemetry.endpoint | quote }}
{{- end }}
{{- range $name, $value := merge (deepCopy (index $values.services .service "settings")) $values.settings }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* Temporal's own configuration; toJson, because a JSON string is a TOML string. */}}
{{- define "tandem.temporalToml" -}}
{{- range $name := list "orders" "fulfillments" }}
{{- $profile := index $.Values.temporal.profiles $name }}
[profile.{{ $name }}]
address = {{ toJson $profile.address }}
namespace = {{ toJson $profile.namespace }}
{{- with $profile.apiKey }}
api_key = {{ . | trim | toJson }}
{{- end }}
{{- with $profile.tls }}
{{- if or .enabled .serverName .clientSecret .caSecret }}

[profile.{{ $name }}.tls]
disabled = false
{{- with .serverName }}
server_name = {{ toJson . }}
{{- end }}
{{- if .clientSecret }}
client_cert_path = "/run/secrets/temporal/{{ $name }}/tls.crt"
client_key_path = "/run/secrets/temporal/{{ $name }}/tls.key"
{{- end }}
{{- if .caSecret }}
server_ca_cert_path = "/run/secrets/temporal/{{ $name }}/ca.crt"
{{- end }}
{{- end }}
{{- end }}
{{ end }}
{{- end }}

{{- define "tandem.hasApiKey" -}}
{{- range $name, $profile := .Values.temporal.profiles }}{{ if $profile.apiKey }}yes{{ end }}{{ end }}
{{- end }}
