# The broker's image with AWS' Lambda Web Adapter, for config/lambda.yaml. Pull the adapter's image once and push yours to ECR:
#
#   docker build --file config/lambda.Dockerfile --build-arg BROKER=realtime-token-broker:0.1.0 --tag …dkr.ecr….amazonaws.com/token-broker .
ARG BROKER=realtime-token-broker:latest
FROM public.ecr.aws/awsguru/aws-lambda-adapter:1.0.0 AS adapter
# hadolint ignore=DL3006
FROM ${BROKER}
COPY --from=adapter /lambda-adapter /opt/extensions/lambda-adapter
