{{- define "tandem.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tandem.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tandem.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "tandem.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tandem.probes" -}}
startupProbe:
  httpGet: { path: /health/ready, port: http }
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: { path: /health/ready, port: http }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: { path: {{ .live }}, port: http }
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
{{- end }}

{{- /* One file for each secret variable; a process type sees the keys it needs and no others. */}}
{{- define "tandem.secretFiles" -}}
{{- $facts := index (include "tandem.services" .root | fromYaml) .service -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "tandem.secretName" . }}
      {{- if has .role (list "worker" "relay") }}
      - secret:
          name: {{ .root.Values.secrets.codec | default (printf "%s-codec" (include "tandem.fullname" .root)) }}
          items:
            {{- range (ternary (list "orders" "fulfillments") (list $facts.profile) (eq .role "worker")) }}
            - { key: tandem_codec_{{ . }}_keys, path: tandem_codec_{{ . }}_keys }
            {{- end }}
      {{- end }}
      {{- if and .root.Values.secrets.kafka (has .role (list "relay" "consumer")) }}
      - secret:
          name: {{ .root.Values.secrets.kafka }}
          items:
            - { key: tandem_kafka_username, path: tandem_kafka_username }
            - { key: tandem_kafka_password, path: tandem_kafka_password }
      {{- end }}
{{- end }}

{{- define "tandem.temporalFiles" -}}
- name: temporal
  {{- if or .Values.temporal.configSecret (include "tandem.hasApiKey" .) }}
  secret:
    secretName: {{ .Values.temporal.configSecret | default (printf "%s-temporal" (include "tandem.fullname" .)) }}
    defaultMode: 0440
    items:
      - { key: temporal.toml, path: temporal.toml }
  {{- else }}
  configMap:
    name: {{ include "tandem.fullname" . }}-temporal
  {{- end }}
{{- range $name, $profile := .Values.temporal.profiles }}
{{- if or $profile.tls.clientSecret $profile.tls.caSecret }}
- name: temporal-{{ $name }}
  projected:
    defaultMode: 0440
    sources:
      {{- with $profile.tls.clientSecret }}
      - secret:
          name: {{ . }}
          items:
            - { key: tls.crt, path: tls.crt }
            - { key: tls.key, path: tls.key }
      {{- end }}
      {{- with $profile.tls.caSecret }}
      - secret:
          name: {{ . }}
          items:
            - { key: ca.crt, path: ca.crt }
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The pod of one process type, for a Deployment or a WorkerDeployment. */}}
{{- define "tandem.pod" -}}
{{- $values := .root.Values -}}
{{- $facts := index (include "tandem.services" .root | fromYaml) .service -}}
{{- $usesTemporal := ne .role "consumer" -}}
{{- $port := ternary (int $facts.port) 8080 (eq .role "api") -}}
metadata:
  labels:
    {{- include "tandem.selector" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/environment: {{ include "tandem.environment" . | sha256sum }}
    {{- if $usesTemporal }}
    checksum/temporal: {{ include "tandem.temporalToml" .root | sha256sum }}
    {{- end }}
    {{- if and $values.metrics.annotations (not $values.metrics.podMonitor) }}
    prometheus.io/scrape: "true"
    prometheus.io/path: /metrics
    prometheus.io/port: {{ $port | quote }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tandem.serviceAccount" .root }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ add $values.stopSeconds 15 }}
  {{- include "tandem.pullSecrets" .root | nindent 2 }}
  securityContext:
    {{- include "tandem.podSecurity" . | nindent 4 }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tandem.selector" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: {{ .role }}
      {{- include "tandem.image" .root | nindent 6 }}
      args: [{{ $facts.package }}, {{ .role }}]
      ports:
        - { name: http, containerPort: {{ $port }} }
      envFrom:
        - configMapRef:
            name: {{ include "tandem.fullname" .root }}-{{ .service }}
      env:
        - { name: {{ ternary "TANDEM_API_PORT" "TANDEM_HEALTH_PORT" (eq .role "api") }}, value: {{ $port | quote }} }
        {{- if $usesTemporal }}
        - { name: TEMPORAL_CONFIG_FILE, value: /etc/tandem/temporal.toml }
        {{- end }}
        {{- if .versioned }}
        - { name: TANDEM_DEPLOYMENT_NAME, value: {{ .root.Release.Namespace }}/{{ include "tandem.process" . }} }
        # The controller appends TEMPORAL_WORKER_BUILD_ID behind these variables, where $(…) does not reach it;
        # the pod's label says the same.
        - name: TANDEM_BUILD_ID
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['temporal.io/build-id']
        {{- end }}
      {{- include "tandem.probes" (dict "live" "/health/live") | nindent 6 }}
      resources:
        {{- (include "tandem.knobs" . | fromYaml).resources | toYaml | nindent 8 }}
      securityContext:
        {{- include "tandem.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - { name: tmp, mountPath: /tmp }
        - { name: secrets, mountPath: /run/secrets/tandem, readOnly: true }
        {{- if $usesTemporal }}
        - { name: temporal, mountPath: /etc/tandem, readOnly: true }
        {{- range $name, $profile := $values.temporal.profiles }}
        {{- if or $profile.tls.clientSecret $profile.tls.caSecret }}
        - { name: temporal-{{ $name }}, mountPath: /run/secrets/temporal/{{ $name }}, readOnly: true }
        {{- end }}
        {{- end }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: { sizeLimit: 64Mi }
    {{- include "tandem.secretFiles" . | nindent 4 }}
    {{- if $usesTemporal }}
    {{- include "tandem.temporalFiles" .root | nindent 4 }}
    {{- end }}
  {{- include "tandem.placement" .root | nindent 2 }}
{{- end }}
